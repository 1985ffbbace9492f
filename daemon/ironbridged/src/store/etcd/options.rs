//! How to reach an etcd cluster: endpoints, prefix, login, certificates, and how long to wait for what.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::store::StoreError;

/// Everything that is known about the cluster before connecting. Its debug text holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    /// URLs, all `http` or all `https`.
    pub endpoints: Vec<String>,
    /// What all keys begin with, without a slash at the end.
    pub prefix: String,
    /// The login, when the cluster has authentication.
    pub user: Option<User>,
    /// The certificate files.
    pub tls: TlsFiles,
    /// Timeouts and pauses.
    pub timing: Timing,
}

/// A user of an etcd cluster with authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for the one place that sends it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("***")
    }
}

/// Certificate files in PEM, read anew for each connection, so that a rotated certificate is used without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may sign the server's certificate. Without it, whoever the machine trusts. flannel ignores a CA given
    /// without a client certificate (flannel-behaviour §5.6); here it is used.
    pub ca: Option<PathBuf>,
    /// The client's certificate; needs a key.
    pub cert: Option<PathBuf>,
    /// The client's private key; needs a certificate.
    pub key: Option<PathBuf>,
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// The longest time for a connection and for any one answer.
    pub request: Duration,
    /// How often everything is read again although a watch says all.
    pub audit: Duration,
    /// The shortest pause before the next attempt.
    pub floor: Duration,
    /// The longest pause before the next attempt.
    pub ceiling: Duration,
    /// How often a silent connection is probed. etcd cuts connections that are probed more often than every 5 s
    /// (`--grpc-keepalive-min-time`).
    pub probe: Duration,
    /// How long a probe may stay without an answer before the connection is given up.
    pub probe_answer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            request: Duration::from_secs(5),
            audit: Duration::from_mins(5),
            floor: Duration::from_millis(200),
            ceiling: Duration::from_secs(10),
            probe: Duration::from_secs(6),
            probe_answer: Duration::from_secs(2),
        }
    }
}

impl EtcdOptions {
    /// Reads a comma-separated list of endpoints, blanks around them allowed, and a key prefix. Certificates decide
    /// what an endpoint without a scheme means, and they must be complete.
    pub fn new(endpoints: &str, prefix: &str, tls: TlsFiles) -> Result<Self, StoreError> {
        let refused = |why: String| Err(StoreError::Options(why));
        if tls.cert.is_some() != tls.key.is_some() {
            return refused(
                "--etcd-certfile and --etcd-keyfile are only of use together; give both".to_owned(),
            );
        }
        let scheme = if tls == TlsFiles::default() { "http" } else { "https" };
        let endpoints: Vec<String> = endpoints
            .split(',')
            .map(|text| text.trim().trim_end_matches('/'))
            .filter(|text| !text.is_empty())
            .map(|text| if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") })
            .collect();
        if endpoints.is_empty() {
            return refused("--etcd-endpoints names no endpoint; give http://127.0.0.1:2379".to_owned());
        }
        if endpoints.iter().any(|e| e.contains('@')) {
            return refused(
                "an etcd endpoint holds a login; use --etcd-username and --etcd-password".to_owned(),
            );
        }
        let encrypted = endpoints.iter().filter(|e| e.starts_with("https://")).count();
        let plain = endpoints.iter().filter(|e| e.starts_with("http://")).count();
        if encrypted + plain != endpoints.len() || (encrypted > 0 && plain > 0) {
            return refused(format!(
                "--etcd-endpoints {}: use http for all endpoints or https for all",
                endpoints.join(",")
            ));
        }
        Ok(EtcdOptions { endpoints, prefix: join(prefix), user: None, tls, timing: Timing::default() })
    }

    /// The same options with a login; an empty name is none.
    #[must_use]
    pub fn with_user(mut self, name: &str, password: Secret) -> Self {
        self.user = (!name.is_empty()).then(|| User { name: name.to_owned(), password });
        self
    }

    /// The key of the network configuration.
    #[must_use]
    pub fn config_key(&self) -> String {
        format!("{}/config", self.prefix)
    }

    /// What the key of each lease begins with. flannel leaves out the last slash and so reads siblings such as
    /// `subnets-old/` too (flannel-behaviour §5.1).
    #[must_use]
    pub fn leases_prefix(&self) -> String {
        format!("{}/subnets/", self.prefix)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.endpoints.iter().all(|e| e.starts_with("https://"))
    }

    /// How the store is called in errors.
    pub(super) fn name(&self) -> String {
        format!("etcd at {}", self.endpoints.join(","))
    }
}

/// Slashes as Go's `path.Join` leaves them, which flannel builds its keys with.
fn join(prefix: &str) -> String {
    let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
    let root = if prefix.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(endpoints: &str) -> Result<EtcdOptions, StoreError> {
        EtcdOptions::new(endpoints, "/coreos.com/network", TlsFiles::default())
    }

    #[test]
    fn endpoints_are_trimmed_and_get_a_scheme() {
        let options = plain(" http://127.0.0.1:4001/ , 127.0.0.1:2379,").unwrap();
        assert_eq!(options.endpoints, ["http://127.0.0.1:4001", "http://127.0.0.1:2379"]);
        let ca = TlsFiles { ca: Some("/ca".into()), ..TlsFiles::default() };
        assert_eq!(EtcdOptions::new("etcd:2379", "x", ca).unwrap().endpoints, ["https://etcd:2379"]);
    }

    #[test]
    fn endpoints_that_cannot_work_are_refused() {
        for bad in ["", " , ", "http://a:1,https://b:2", "ftp://a:1", "http://root:pw@a:1"] {
            let refused = plain(bad).unwrap_err().to_string();
            assert!(!refused.contains("pw@"), "{refused}");
        }
    }

    #[test]
    fn a_client_certificate_without_its_key_is_refused() {
        let half = TlsFiles { cert: Some("/cert".into()), ..TlsFiles::default() };
        assert!(EtcdOptions::new("https://a:1", "/x", half).is_err());
    }

    #[test]
    fn keys_are_joined_as_go_joins_paths() {
        let keys = |prefix: &str| {
            let options = EtcdOptions::new("a:1", prefix, TlsFiles::default()).unwrap();
            (options.config_key(), options.leases_prefix())
        };
        let wanted = ("/coreos.com/network/config".to_owned(), "/coreos.com/network/subnets/".to_owned());
        assert_eq!(keys("/coreos.com/network"), wanted);
        assert_eq!(keys("/coreos.com//network/"), wanted);
        assert_eq!(keys("net").0, "net/config");
    }

    #[test]
    fn no_debug_text_holds_the_password() {
        let options = plain("a:1").unwrap().with_user("flannel", Secret::new("hunter2"));
        let text = format!("{options:?} {:?}", crate::store::EtcdStore::new(options.clone()));
        assert!(text.contains("flannel") && !text.contains("hunter2"), "{text}");
    }
}
