//! The table of variables: what is missing, what is malformed, and which of the two is said first.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::error::{Code, Error};

const FULL: [(&str, &str); 5] = [
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/a"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_ARGS", "A=1"),
    ("CNI_PATH", "/opt/cni/bin"),
];

fn env(command: &str, changes: &[(&str, &str)]) -> Env {
    let verb = ("CNI_COMMAND", command);
    let full = FULL.iter().chain([&verb]);
    let kept = full.filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    kept.chain(changes).map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn refusal(command: &str, changes: &[(&str, &str)]) -> Error {
    let error: Error = Parameters::read(&env(command, changes)).expect_err("should be refused").into();
    assert_eq!(error.code, Code::INVALID_ENVIRONMENT);
    error
}

#[test]
fn everything_missing_is_named_at_once_in_the_order_of_the_table() {
    let unset: Vec<(&str, &str)> = FULL.iter().map(|(name, _)| (*name, "")).collect();
    for (command, names) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        let message = format!("required env variables [{names}] missing");
        assert_eq!(refusal(command, &unset).msg, message, "{command}");
        let nothing: Env = [("CNI_COMMAND".into(), command.into())].into_iter().collect();
        assert_eq!(Error::from(Parameters::read(&nothing).unwrap_err()).msg, message, "{command}");
    }
    assert_eq!(refusal("", &[]).msg, "required env variables [CNI_COMMAND] missing");
}

#[test]
fn version_and_unknown_verbs_require_nothing() {
    let unset: Vec<(&str, &str)> = FULL.iter().map(|(name, _)| (*name, "")).collect();
    assert!(Parameters::read(&env("VERSION", &unset)).is_ok());
    let unknown = Parameters::read(&env("add", &unset)).unwrap();
    assert_eq!(unknown.verb, Verb::Unknown("add".into()));
}

#[test]
fn a_malformed_value_is_said_before_what_is_missing() {
    let error = refusal("ADD", &[("CNI_CONTAINERID", "-a"), ("CNI_IFNAME", ""), ("CNI_PATH", "")]);
    assert_eq!((error.msg.as_str(), error.details.as_str()), ("invalid characters in containerID", "-a"));
    let error = refusal("DEL", &[("CNI_CONTAINERID", ""), ("CNI_IFNAME", "a/b")]);
    assert_eq!(error.msg, "interface name contains / or : or whitespace characters");
}

#[test]
fn container_ids_are_plain_names() {
    for good in ["a", "0", "A.b_c-d", "cnitool-0123456789abcdef0123", &"x".repeat(300)] {
        assert!(Parameters::read(&env("ADD", &[("CNI_CONTAINERID", good)])).is_ok(), "{good}");
    }
    for bad in ["_a", ".a", "-a", "a/b", "a b", "a\n", "é", "a:b", ".."] {
        assert_eq!(refusal("ADD", &[("CNI_CONTAINERID", bad)]).details, bad);
    }
}

#[test]
fn interface_names_follow_the_kernel() {
    for good in ["a", "eth0", "fifteen-chars-x", "a..b", "...", "é", "a\u{200b}"] {
        assert!(Parameters::read(&env("ADD", &[("CNI_IFNAME", good)])).is_ok(), "{good}");
    }
    for (bad, message) in [
        ("sixteen-chars-xx", "interface name is too long"),
        ("ééééééé é", "interface name is too long"),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("a:1", "interface name contains / or : or whitespace characters"),
        ("a b", "interface name contains / or : or whitespace characters"),
        ("a\u{a0}b", "interface name contains / or : or whitespace characters"),
        ("a\u{85}", "interface name contains / or : or whitespace characters"),
    ] {
        assert_eq!(refusal("CHECK", &[("CNI_IFNAME", bad)]).msg, message, "{bad}");
    }
}

#[test]
fn variables_of_no_concern_are_not_looked_at() {
    let parameters =
        Parameters::read(&env("GC", &[("CNI_CONTAINERID", "-"), ("CNI_IFNAME", "a/b")])).unwrap();
    assert_eq!((parameters.container_id.as_str(), parameters.netns), ("", None));
    assert!(Parameters::read(&env("VERSION", &[("CNI_IFNAME", "dummy dummy dummy")])).is_ok());
}

#[test]
fn del_lives_with_an_empty_namespace() {
    assert_eq!(Parameters::read(&env("DEL", &[("CNI_NETNS", "")])).unwrap().netns, None);
    assert_eq!(Parameters::read(&env("DEL", &[])).unwrap().netns.as_deref(), Some("/run/netns/a"));
}

#[test]
fn bytes_that_are_not_text_are_refused_by_name_except_in_the_path() {
    let raw = |name: &str| -> Env {
        let bytes = (OsString::from(name), OsString::from_vec(vec![b'a', 0xff]));
        let others = env("ADD", &[(name, "")]);
        let owned = others.exported().map(|(key, value)| (key.to_owned(), value.to_owned()));
        [bytes].into_iter().chain(owned).collect()
    };
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        let error: Error = Parameters::read(&raw(name)).expect_err(name).into();
        assert_eq!((error.code, error.msg), (Code::INVALID_ENVIRONMENT, format!("{name} is not UTF-8 text")));
    }
    assert!(Parameters::read(&raw("CNI_PATH")).is_ok());
}

#[test]
fn the_override_is_1_or_true_in_any_case() {
    for (value, expected) in
        [("1", true), ("true", true), ("TrUe", true), ("yes", false), ("0", false), ("", false)]
    {
        assert_eq!(overrides_netns_test(&env("ADD", &[("CNI_NETNS_OVERRIDE", value)])), expected, "{value}");
    }
}

#[test]
fn a_delegate_inherits_everything_but_the_verb() {
    let env = env("ADD", &[("TRACEPARENT", "t")]).with_command(Command::Del);
    assert_eq!(env.get("CNI_COMMAND"), Some(OsStr::new("DEL")));
    let commands: Vec<_> = env.exported().filter(|(name, _)| *name == "CNI_COMMAND").collect();
    assert_eq!(commands.last().map(|(_, value)| *value), Some(OsStr::new("DEL")));
    assert!(env.exported().any(|(name, value)| name == "TRACEPARENT" && value == "t"));
    assert!(env.exported().any(|(name, value)| name == "CNI_ARGS" && value == "A=1"));
}
