//! The etcd store's login and certificates, against a real etcd with authentication or TLS.

use crate::server::{PREFIX, Scheme, Server, quick};
use crate::store_support::nodes::Applicant;
use crate::store_support::{NETWORK, World, follow, is_live, keys, until};
use etcd_client::{ConnectOptions, Permission};
use ironbridged::store::{EtcdOptions, EtcdStore, LeaseStore, Secret, StoreError, StoreState, TlsFiles};

async fn with_auth() -> Server {
    let server = Server::start().await;
    server.put_config(NETWORK).await;
    let mut client = server.client().await;
    client.user_add("root", "top", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("net").await.unwrap();
    let whole = Permission::read_write(format!("{PREFIX}/")).with_prefix();
    client.role_grant_permission("net", whole).await.unwrap();
    client.role_add("reader").await.unwrap();
    let some = Permission::read(format!("{PREFIX}/config"));
    client.role_grant_permission("reader", some).await.unwrap();
    for (user, role) in [("flannel", "net"), ("guest", "reader")] {
        client.user_add(user, "hunter2", None).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
    server
}

fn login(server: &Server, user: &str, password: &str) -> EtcdStore {
    EtcdStore::new(server.options().with_user(user, Secret::new(password)))
}

#[tokio::test]
async fn a_login_is_used_and_survives_a_restart_that_forgets_all_tokens() {
    let mut server = with_auth().await;
    let mut store = login(&server, "flannel", "hunter2");
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "the lease", |view| keys(view).len() == 1).await;
    server.kill();
    until(&mut seen, "stale", |view| !is_live(view)).await;
    server.restart();
    server.client_with(ConnectOptions::new().with_user("root", "top")).await;
    until(&mut seen, "live", is_live).await;
    store.renew(&held).await.unwrap();
    Applicant::new(2).acquire(&mut store).await.unwrap();
    until(&mut seen, "both", |view| keys(view).len() == 2).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_without_telling_it() {
    let server = with_auth().await;
    for (user, password) in [("flannel", "sesame"), ("nobody", "sesame"), ("", "")] {
        let mut store = login(&server, user, password);
        let refused = store.config().await.unwrap_err();
        assert!(matches!(refused, StoreError::Credentials { .. }), "{refused}");
        assert!(!refused.is_outage(), "{refused}");
        let texts = format!("{refused} {refused:?} {store:?}");
        assert!(!texts.contains("sesame"), "{texts}");
        let mut seen = follow(&mut store);
        let why = |view: &ironbridged::store::View| match &view.state {
            StoreState::Stale { why, .. } => why.contains("--etcd-username"),
            StoreState::Live => false,
        };
        let view = until(&mut seen, "the reason", why).await;
        assert!(view.snapshot.is_none());
    }
}

#[tokio::test]
async fn a_missing_permission_is_named_and_never_an_empty_store() {
    let server = with_auth().await;
    let mut store = login(&server, "guest", "hunter2");
    store.config().await.unwrap();
    let denied = store.snapshot().await.unwrap_err();
    assert!(matches!(denied, StoreError::Denied { .. }), "{denied}");
    assert!(denied.to_string().contains(PREFIX), "{denied}");
    let mut seen = follow(&mut store);
    let denied = |view: &ironbridged::store::View| matches!(&view.state, StoreState::Stale { why, .. } if why.contains("permission"));
    assert!(until(&mut seen, "denied", denied).await.snapshot.is_none());
}

#[tokio::test]
async fn a_login_for_an_etcd_without_authentication_is_no_error() {
    let server = Server::start().await;
    server.put_config(NETWORK).await;
    login(&server, "flannel", "hunter2").config().await.unwrap();
}

fn encrypted(server: &Server, ca: Option<&str>, client: Option<&str>) -> EtcdStore {
    let file = |name: Option<String>| name.map(|name| server.tls(&name));
    let tls = TlsFiles {
        ca: file(ca.map(ToOwned::to_owned)),
        cert: file(client.map(|c| format!("{c}.crt"))),
        key: file(client.map(|c| format!("{c}.key"))),
    };
    EtcdStore::new(quick(EtcdOptions::new(&server.endpoint(), PREFIX, tls).unwrap()))
}

#[tokio::test]
async fn a_ca_alone_is_used_unlike_flannels_and_a_wrong_or_missing_one_is_an_error() {
    let server = Server::start_with(Scheme::Https);
    server.put_config(NETWORK).await;
    let mut store = encrypted(&server, Some("ca.crt"), None);
    Applicant::new(1).acquire(&mut store).await.unwrap();
    until(&mut follow(&mut store), "the lease", |view| keys(view).len() == 1).await;
    for ca in [Some("other.crt"), None] {
        let refused = encrypted(&server, ca, None).config().await.unwrap_err();
        assert!(refused.to_string().contains("certificate"), "{ca:?}: {refused}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_rotated_without_a_restart() {
    let mut server = Server::start_with(Scheme::Mutual);
    server.put_config(NETWORK).await;
    let without = encrypted(&server, Some("ca.crt"), None).config().await.unwrap_err();
    assert!(without.is_outage(), "{without}");
    let mut store = encrypted(&server, Some("ca.crt"), Some("client"));
    Applicant::new(1).acquire(&mut store).await.unwrap();
    for kind in ["crt", "key"] {
        std::fs::copy(server.tls(&format!("server.{kind}")), server.tls(&format!("client.{kind}"))).unwrap();
    }
    server.kill();
    server.restart();
    server.client().await;
    store.config().await.unwrap();
    until(&mut follow(&mut store), "live", is_live).await;
}
