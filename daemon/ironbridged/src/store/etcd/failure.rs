//! What an error of the etcd client means: an outage, a refused login, a missing permission, or a refusal.

use std::error::Error;

use crate::store::StoreError;

/// Status codes of gRPC (grpc.io/docs/guides/status-codes) that etcd uses with a meaning of their own.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// Turns the client's error into ours.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the client says, it has no answer")]
pub(super) fn classify(store: &str, doing: &str, error: &etcd_client::Error) -> StoreError {
    let (store, doing) = (store.to_owned(), doing.to_owned());
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let code = i32::from(status.code());
            let why = if status.message().is_empty() {
                chain(status)
            } else {
                with_causes(status.message(), status)
            };
            of_code(code, store, doing, why)
        }
        etcd_client::Error::TransportError(e) => StoreError::Unavailable { store, doing, why: chain(e) },
        etcd_client::Error::InvalidUri(e) => StoreError::Options(format!("{store}: not a URL: {e}")),
        etcd_client::Error::InvalidArgs(e) => StoreError::Options(format!("{store}: {e}")),
        // The client's words for an answer with a time to live of zero.
        etcd_client::Error::LeaseKeepAliveError(why) if why == "lease not found" => {
            StoreError::Refused { store, doing, why: why.clone(), code: code::NOT_FOUND }
        }
        other => StoreError::Unavailable { store, doing, why: other.to_string() },
    }
}

fn of_code(code: i32, store: String, doing: String, why: String) -> StoreError {
    match code {
        code::CANCELLED | code::UNKNOWN | code::DEADLINE_EXCEEDED | code::UNAVAILABLE => {
            StoreError::Unavailable { store, doing, why }
        }
        // Users or roles changed since the login; the next one is good again.
        code::INVALID_ARGUMENT if why.contains("revision of auth store is old") => {
            StoreError::Unavailable { store, doing, why }
        }
        code::PERMISSION_DENIED => StoreError::Denied { store, doing, why },
        code::UNAUTHENTICATED => StoreError::Credentials { store, why },
        code::INVALID_ARGUMENT if is_login(&why) => StoreError::Credentials { store, why },
        _ => StoreError::Refused { store, doing, why, code },
    }
}

/// etcd answers a wrong password and a missing user name with the code for malformed requests.
fn is_login(why: &str) -> bool {
    why.contains("authentication failed") || why.contains("user name is empty")
}

/// Whether etcd says that the etcd lease does not exist (any more).
pub(super) fn is_lease_missing(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused { code: code::NOT_FOUND, .. })
}

/// Whether a login was refused only because the cluster has authentication switched off, which flannel ignores too.
pub(super) fn is_auth_off(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("authentication is not enabled"))
}

fn chain(error: &dyn Error) -> String {
    with_causes(&error.to_string(), error)
}

/// The text with all causes behind it: the first one alone is often just "transport error".
fn with_causes(text: &str, error: &dyn Error) -> String {
    let (mut all, mut next) = (text.to_owned(), error.source());
    while let Some(cause) = next {
        let words = cause.to_string();
        if !all.contains(&words) {
            all = format!("{all}: {words}");
        }
        next = cause.source();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_an_outage() {
        let of = |code, why: &str| of_code(code, "etcd".to_owned(), "read".to_owned(), why.to_owned());
        assert!(of(14, "tcp connect error").is_outage());
        assert!(of(2, "h2 protocol error").is_outage());
        assert!(matches!(of(7, "etcdserver: permission denied"), StoreError::Denied { .. }));
        let wrong = "etcdserver: authentication failed, invalid user ID or password";
        assert!(matches!(of(3, wrong), StoreError::Credentials { .. }));
        assert!(matches!(of(3, "etcdserver: key is not provided"), StoreError::Refused { .. }));
        assert!(is_lease_missing(&of(5, "etcdserver: requested lease not found")));
    }
}
