//! Nodes that are not there: their leases are written, changed and deleted in a real etcd, through its JSON gateway.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use netns_fixtures::{Etcd, Node, Space};
use serde_json::{Value, json};

use super::cluster::Cluster;
use crate::error::Error;

const PREFIX: &str = "/coreos.com/network";
/// Leases in one transaction; etcd takes 1.5 MB in one request.
const TOGETHER: u32 = 2_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// An etcd with a network configuration, and as many leases as are wanted.
pub struct Simulator<'w> {
    node: &'w Node,
    etcd: Etcd<'w>,
    cluster: Cluster,
}

impl<'w> Simulator<'w> {
    /// On that node, reachable at that address.
    pub fn start((node, address): (&'w Node, &str), cluster: Cluster) -> Self {
        let etcd = Etcd::start_with(node, address, &["--max-txn-ops=10000"]);
        etcd.put(&format!("{PREFIX}/config"), &cluster.config().to_string());
        Self { node, etcd, cluster }
    }

    /// Where daemons find it.
    pub fn endpoint(&self) -> String {
        self.etcd.endpoint()
    }

    /// Writes the leases of so many peers.
    pub fn fill(&self, leases: u32) -> Result<(), Error> {
        let numbers: Vec<u32> = (0..leases).collect();
        for part in numbers.chunks(usize::try_from(TOGETHER).unwrap_or(1)) {
            let puts: Vec<Value> =
                part.iter().map(|number| json!({"requestPut": self.lease(*number, 0)})).collect();
            self.post("kv/txn", &json!({"success": puts}))?;
        }
        Ok(())
    }

    /// Writes one lease; the moment before the request was sent. Another `version` is another address.
    pub fn put(&self, number: u32, version: u32) -> Result<Instant, Error> {
        self.post("kv/put", &self.lease(number, version)).map(|(_, sent)| sent)
    }

    /// Deletes one lease.
    pub fn delete(&self, number: u32) -> Result<(), Error> {
        self.post("kv/deleterange", &json!({"key": base64(self.key(number).as_bytes())})).map(drop)
    }

    /// How many unary requests of each kind it has answered.
    pub fn answered(&self) -> Result<f64, Error> {
        let text =
            self.request("GET /metrics HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n", "metrics")?.0;
        let calls = text.lines().filter(|line| {
            line.starts_with("grpc_server_handled_total")
                && line.contains("grpc_code=\"OK\"")
                && line.contains("unary")
        });
        Ok(calls.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    fn key(&self, number: u32) -> String {
        format!("{PREFIX}/subnets/{}", self.cluster.key(number))
    }

    fn lease(&self, number: u32, version: u32) -> Value {
        let value = self.cluster.lease(number, version).to_string();
        json!({"key": base64(self.key(number).as_bytes()), "value": base64(value.as_bytes())})
    }

    fn post(&self, path: &str, body: &Value) -> Result<(String, Instant), Error> {
        let body = body.to_string();
        let request = format!(
            "POST /v3/{path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.request(&request, path)
    }

    fn request(&self, request: &str, doing: &str) -> Result<(String, Instant), Error> {
        let failed = |why: String| Error::Etcd { doing: doing.to_owned(), why };
        let (answer, sent) = self
            .node
            .inside(|| -> std::io::Result<_> {
                let mut stream = TcpStream::connect("127.0.0.1:2379")?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let sent = Instant::now();
                stream.write_all(request.as_bytes())?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok((answer, sent))
            })
            .map_err(|error| failed(error.to_string()))?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(failed(answer.chars().take(300).collect()));
        }
        Ok((answer, sent))
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let mut word = [0u8; 4];
        for (place, byte) in word.iter_mut().skip(1).zip(part) {
            *place = *byte;
        }
        let bits = u32::from_be_bytes(word);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let index = usize::try_from(bits >> shift & 63).unwrap_or(0);
            let letter = ALPHABET.get(index).copied().map_or('A', char::from);
            text.push(if at > part.len() { '=' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_its_padding() {
        let told = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(told, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
