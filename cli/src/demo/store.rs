//! Where the demo's daemons meet: a directory, or a real etcd server on the underlay.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::directory::Directory;
use super::error::{At, Error};
use super::interrupt::Interrupt;
use super::process::{Process, Program, Tie};
use super::world::World;

/// The pods' network.
pub const CLUSTER: &str = "10.42.0.0/16";
const PORT: u16 = 2379;
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Which store the demo runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The embedded one: a directory.
    File,
    /// An etcd server, which must be installed.
    Etcd,
}

/// How the demo's nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Routes through the nodes' own addresses.
    HostGw,
    /// A VXLAN tunnel.
    Vxlan,
}

/// A store with the network's configuration in it.
pub struct Store {
    /// The flags that lead a daemon to it.
    pub flags: Vec<String>,
    /// The server, where there is one.
    pub server: Option<Process>,
}

impl Store {
    /// The embedded store in a directory.
    pub fn file(directory: &Directory, backend: Backend) -> Result<Self, Error> {
        let path = directory.make("store")?;
        let config = path.join("config");
        fs::write(&config, network(backend).to_string()).at("write", &config)?;
        Ok(Self { flags: vec![format!("--store=file:{}", path.display())], server: None })
    }

    /// A real etcd server in the underlay's namespace.
    pub fn etcd(
        world: &World,
        directory: &Directory,
        backend: Backend,
        how: (Tie, &Interrupt),
    ) -> Result<Self, Error> {
        let program = program("etcd", "install etcd-server, or leave out --store etcd")?;
        let (tie, interrupt) = how;
        let url = format!("http://{}:{PORT}", World::store_address());
        let peers = format!("http://{}:2380", Ipv4Addr::LOCALHOST);
        let data = directory.make("etcd")?;
        let flags = [
            ("name", "demo".to_owned()),
            ("data-dir", data.display().to_string()),
            ("listen-client-urls", url.clone()),
            ("advertise-client-urls", url.clone()),
            ("listen-peer-urls", peers.clone()),
            ("initial-advertise-peer-urls", peers.clone()),
            ("initial-cluster", format!("demo={peers}")),
            ("log-level", "warn".to_owned()),
        ];
        let arguments = flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        let log = directory.path().join("etcd.log");
        let what = Program { file: &program, arguments, place: "the underlay", log };
        let mut server = Process::start(&world.underlay, tie, what)?;
        server.await_ready((interrupt, PATIENCE), || {
            post(world, "/v3/maintenance/status", &json!({})).is_ok_and(|answer| answer.contains("leader"))
        })?;
        let put = json!({ "key": base64(b"/coreos.com/network/config"), "value": base64(network(backend).to_string().as_bytes()) });
        let answer = post(world, "/v3/kv/put", &put).unwrap_or_else(|e| e.to_string());
        if !answer.contains("\"revision\"") {
            return Err(Error::Etcd { answer });
        }
        Ok(Self { flags: vec![format!("--etcd-endpoints={url}")], server: Some(server) })
    }
}

fn network(backend: Backend) -> Value {
    let name = match backend {
        Backend::HostGw => "host-gw",
        Backend::Vxlan => "vxlan",
    };
    json!({ "Network": CLUSTER, "Backend": { "Type": name } })
}

/// The path of an installed program.
fn program(name: &str, remedy: &'static str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|p| Path::is_file(p));
    found.ok_or_else(|| Error::Missing { program: name.to_owned(), remedy })
}

/// One request to etcd's JSON gateway (`/v3/…`), which spares the command a gRPC library.
fn post(world: &World, path: &str, body: &Value) -> Result<String, Error> {
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((World::store_address(), PORT));
        let mut stream = TcpStream::connect_timeout(&address, ANSWERS_WITHIN)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    world.underlay.run(ask)?.at("ask", Path::new("etcd"))
}

/// RFC 4648 §4, which the gateway wants for keys and values.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for place in 0..4 {
            let digit = DIGITS.get(bits >> (18 - 6 * place) & 63).filter(|_| place <= chunk.len());
            text.push(digit.map_or('=', |d| char::from(*d)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfcs_vectors() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn the_network_is_one_that_the_daemon_takes() {
        for backend in [Backend::HostGw, Backend::Vxlan] {
            overlay::NetworkConfig::parse(network(backend).to_string().as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_program_that_is_not_installed_is_named_with_a_remedy() {
        let error = program("no-such-program-here", "install it").unwrap_err().to_string();
        assert_eq!(error, "no-such-program-here is not installed: install it");
    }
}
