//! An etcd that begins to refuse the daemon, by its password or its certificate, and takes it again: no restart of the
//! daemon, and no packet lost.

use std::path::Path;
use std::process::Command;

use netns_fixtures::{Daemon, DaemonOptions, Etcd, Pinger, eventually};
use tempfile::TempDir;
use tests::cluster::{Attached, Cluster, HEARD, V4, config_key, leases_prefix, options, readyz, routes};

const PEER: &str = r#"{"PublicIP":"192.168.50.77","PublicIPv6":null,"BackendType":"host-gw"}"#;

struct Talk<'w> {
    cluster: &'w Cluster,
    daemons: Vec<Daemon<'w>>,
    _pods: Vec<Attached>,
    pinger: Pinger,
}

impl<'w> Talk<'w> {
    fn start(cluster: &'w Cluster, options: &DaemonOptions) -> Self {
        let daemons = cluster.daemons(options);
        cluster.await_routes(0, &[(&daemons[1], 1)]);
        cluster.await_routes(1, &[(&daemons[0], 0)]);
        let pods: Vec<_> = (0..2).map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}"))).collect();
        let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
        Self { cluster, daemons, _pods: pods, pinger }
    }

    /// The refusal is named, readiness stays, and so do the routes.
    #[track_caller]
    fn await_refusal(&self, words: &str) {
        eventually(&format!("/readyz says {words:?}"), HEARD, || {
            let (status, told) = readyz(self.cluster.node(0));
            assert_eq!(status, 200, "{told}");
            told["store"].to_string().contains(words).then_some(())
        });
        assert_eq!(routes(self.cluster.node(0)).len(), 1);
        self.pinger.await_answers(20);
    }

    /// A change is heard again, by the processes that were there all the time.
    #[track_caller]
    fn assert_healed(mut self, put: impl Fn(&str, &str)) {
        put(&format!("{}10.244.250.0-24", leases_prefix()), PEER);
        eventually("the change is heard", HEARD, || {
            (0..2).all(|n| routes(self.cluster.node(n)).contains_key("10.244.250.0/24")).then_some(())
        });
        self.pinger.await_answers(10);
        let loss = self.pinger.stop();
        eprintln!("{} of {} echoes lost", loss.lost, loss.sent);
        assert_eq!(loss.lost, 0, "{loss:?}");
        assert!(self.daemons.iter_mut().all(|daemon| daemon.running().is_running()));
    }
}

#[test]
fn a_password_that_is_wrong_for_a_while_costs_no_packet() {
    let cluster = Cluster::new(2);
    let mut etcd = cluster.etcd(V4);
    for line in [
        &["role", "add", "flannel"][..],
        &["role", "grant-permission", "flannel", "--prefix=true", "readwrite", "/coreos.com/network"],
        &["user", "add", "flannel:good"],
        &["user", "grant-role", "flannel", "flannel"],
        &["user", "add", "root:root"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        etcd.ctl(line);
    }
    let mut with = options(&etcd).flag("--etcd-username=flannel");
    with.environment = vec![("FLANNELD_ETCD_PASSWORD".to_owned(), "good".to_owned())];
    let talk = Talk::start(&cluster, &with);
    let password = |etcd: &Etcd, new: &str| {
        let line = format!(
            "printf '{new}\\n{new}\\n' | etcdctl --user root:root user passwd flannel --interactive=false"
        );
        let mut command = Command::new("sh");
        command.env("ETCDCTL_API", "3").args(["-c", &line]);
        let output = netns_fixtures::Space::output(cluster.underlay.hub(), command);
        assert!(output.status.success(), "{output:?}; {}", etcd.log());
    };
    password(&etcd, "other");
    // What is connected goes on; a new connection is refused.
    etcd.kill();
    etcd.restart_unasked();
    talk.await_refusal("the login is refused");
    password(&etcd, "good");
    talk.assert_healed(|key, value| drop(etcd.ctl(&["--user", "root:root", "put", "--", key, value])));
}

/// A certificate for `name`, valid for so many days.
fn certificate(folder: &Path, name: &str, days: i32) {
    let openssl = |line: &str| {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    if !folder.join("ca.crt").exists() {
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=ca"));
    }
    std::fs::write(folder.join("san"), "subjectAltName=IP:192.168.50.254\n").unwrap();
    openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    openssl(&format!(
        "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile san -out {name}.crt"
    ));
}

#[test]
fn a_certificate_that_expired_and_is_renewed_costs_no_packet_and_no_restart() {
    let cluster = Cluster::new(2);
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificate(folder.path(), "server", 10);
    certificate(folder.path(), "client", 10);
    let flags = [
        "--listen-client-urls=https://192.168.50.254:2379,http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=https://192.168.50.254:2379".to_owned(),
        format!("--cert-file={}", path("server.crt")),
        format!("--key-file={}", path("server.key")),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", path("ca.crt")),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut etcd = Etcd::start_with(cluster.underlay.hub(), cluster.underlay.hub_ip(), &flags);
    etcd.put(&config_key(), V4);
    let with = DaemonOptions::etcd("https://192.168.50.254:2379")
        .flag("--iface=eth0")
        .flag(&format!("--etcd-cafile={}", path("ca.crt")))
        .flag(&format!("--etcd-certfile={}", path("client.crt")))
        .flag(&format!("--etcd-keyfile={}", path("client.key")));
    let talk = Talk::start(&cluster, &with);
    certificate(folder.path(), "client", -1);
    etcd.kill();
    etcd.restart();
    // Whether the server's alert arrives before its end of the connection is chance: that it is refused is named.
    talk.await_refusal("cannot connect");
    certificate(folder.path(), "client", 10);
    talk.assert_healed(|key, value| etcd.put(key, value));
}
