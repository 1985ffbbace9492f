//! A real etcd server on loopback ports of its own, killed with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, PutOptions, TlsOptions};
use ironbridged::store::{EtcdOptions, EtcdStore, TlsFiles};

use crate::store_support::World;

pub const PREFIX: &str = "/coreos.com/network";

/// How the server talks to its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    /// Https that asks for a client certificate.
    Mutual,
}

/// The server and its data.
pub struct Server {
    home: tempfile::TempDir,
    ports: [u16; 2],
    scheme: Scheme,
    child: Child,
}

impl Server {
    pub async fn start() -> Self {
        let server = Server::start_with(Scheme::Http);
        server.client().await;
        server
    }

    /// Does not wait until it answers.
    pub fn start_with(scheme: Scheme) -> Self {
        let home = tempfile::tempdir().unwrap();
        if scheme != Scheme::Http {
            make_certificates(&home.path().join("tls"));
        }
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let child = spawn(&home.path().join("data"), ports, scheme, &home.path().join("tls"));
        Server { home, ports, scheme, child }
    }

    pub fn tls(&self, file: &str) -> PathBuf {
        self.home.path().join("tls").join(file)
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.scheme == Scheme::Http { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}", self.ports[0])
    }

    pub fn options(&self) -> EtcdOptions {
        quick(EtcdOptions::new(&self.endpoint(), PREFIX, TlsFiles::default()).unwrap())
    }

    /// A client of the test's own, once the server answers.
    pub async fn client(&self) -> Box<Client> {
        self.client_with(ConnectOptions::new()).await
    }

    pub async fn client_with(&self, mut options: ConnectOptions) -> Box<Client> {
        if self.scheme != Scheme::Http {
            let read = |file| std::fs::read(self.tls(file)).unwrap();
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(read("ca.crt")))
                .identity(Identity::from_pem(read("client.crt"), read("client.key")));
            options = options.with_tls(tls);
        }
        let began = Instant::now();
        loop {
            let failed = match Client::connect([self.endpoint()], Some(options.clone())).await {
                Ok(mut client) => match client.get("x", None).await {
                    Err(error) if is_starting(&error) => error,
                    Ok(_) | Err(_) => return Box::new(client),
                },
                Err(error) => error,
            };
            assert!(began.elapsed() < Duration::from_secs(15), "etcd does not come up: {failed}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child =
            spawn(&self.home.path().join("data"), self.ports, self.scheme, &self.home.path().join("tls"));
    }

    /// Loses everything the server had.
    pub fn lose_data(&self) {
        std::fs::remove_dir_all(self.home.path().join("data")).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn is_starting(error: &etcd_client::Error) -> bool {
    ["connect", "transport", "leader", "timed out"].iter().any(|word| error.to_string().contains(word))
}

/// Short pauses, so that a test waits for the server and not for a pause.
pub fn quick(mut options: EtcdOptions) -> EtcdOptions {
    let timing = &mut options.timing;
    (timing.floor, timing.ceiling) = (Duration::from_millis(50), Duration::from_millis(300));
    options
}

fn spawn(data: &std::path::Path, ports: [u16; 2], scheme: Scheme, tls: &std::path::Path) -> Child {
    let http = if scheme == Scheme::Http { "http" } else { "https" };
    let (client, peer) =
        (format!("{http}://127.0.0.1:{}", ports[0]), format!("http://127.0.0.1:{}", ports[1]));
    let mut command = Command::new("/usr/bin/etcd");
    command.arg("--data-dir").arg(data);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    command.args(["--heartbeat-interval", "20", "--election-timeout", "200", "--logger", "zap"]);
    if scheme != Scheme::Http {
        command.arg("--cert-file").arg(tls.join("server.crt")).arg("--key-file").arg(tls.join("server.key"));
    }
    if scheme == Scheme::Mutual {
        command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(tls.join("ca.crt"));
    }
    let log = std::fs::File::create(data.with_extension("log")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// A certificate authority, a server's and a client's certificate, and another authority that signed nothing.
fn make_certificates(at: &std::path::Path) {
    std::fs::create_dir_all(at).unwrap();
    let openssl = |arguments: &str| {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(at).output().expect("openssl");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    for ca in ["ca", "other"] {
        openssl(&format!("req -x509 {key} -keyout {ca}.key -out {ca}.crt -subj /CN={ca}"));
    }
    std::fs::write(at.join("san"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        .unwrap();
    for name in ["server", "client"] {
        openssl(&format!(
            "req -new {} -keyout {name}.key -out {name}.csr -subj /CN={name}",
            key.replace(" -days 2", "")
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out {name}.crt"
        ));
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}/subnets/{name}")
}

impl World for Server {
    type Store = EtcdStore;

    fn store(&self) -> EtcdStore {
        EtcdStore::new(self.options())
    }

    async fn put_config(&self, json: &str) {
        self.client().await.put(format!("{PREFIX}/config"), json, None).await.unwrap();
    }

    async fn put(&self, name: &str, value: &str) {
        self.client().await.put(key(name), value, None).await.unwrap();
    }

    async fn overwrite(&self, name: &str, value: &str) {
        let keep = PutOptions::new().with_ignore_lease();
        self.client().await.put(key(name), value, Some(keep)).await.unwrap();
    }

    async fn remove(&self, name: &str) {
        self.client().await.delete(key(name), None).await.unwrap();
    }

    async fn raw(&self, name: &str) -> Option<(String, bool)> {
        let answer = self.client().await.get(key(name), None).await.unwrap();
        answer.kvs().first().map(|kv| (kv.value_str().unwrap().to_owned(), kv.lease() != 0))
    }

    async fn wipe(&self) {
        let all = etcd_client::DeleteOptions::new().with_all_keys();
        self.client().await.delete("", Some(all)).await.unwrap();
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// How many etcd leases there are.
pub async fn etcd_leases(client: &mut Client) -> usize {
    client.leases().await.unwrap().leases().len()
}

/// The newest revision.
pub async fn revision(client: &mut Client) -> i64 {
    let answer = client.get("x", Some(GetOptions::new().with_count_only())).await.unwrap();
    answer.header().unwrap().revision()
}
