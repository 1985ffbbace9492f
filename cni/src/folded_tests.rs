//! What Go's JSON decoder does with keys, duplicates, nulls and numbers, asked of ours.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PortMapping {
    host_port: u16,
    container_port: u16,
    protocol: String,
    #[serde(rename = "hostIP", deserialize_with = "opt_ip")]
    host_ip: Option<IpAddr>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    name: String,
    port_mappings: Vec<PortMapping>,
    sysctl: BTreeMap<String, String>,
    mtu: Option<u32>,
    weight: f64,
    flag: bool,
    level: i8,
    ipam: Option<PortMapping>,
    any: serde_json::Value,
    mode: Mode,
    wrapped: Wrapped,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
enum Mode {
    #[default]
    #[serde(rename = "bridge")]
    Bridge,
    #[serde(rename = "vepa")]
    Vepa,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Wrapped(String);

fn conf(text: &str) -> Conf {
    from_json(text.as_bytes()).unwrap()
}

fn refusal(text: &str) -> String {
    let error = from_json::<Conf>(text.as_bytes()).unwrap_err();
    assert_eq!(error.code, Code::DECODE);
    error.msg
}

#[test]
fn containerd_port_mappings_with_capital_keys_are_seen() {
    let text = r#"{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""}]}"#;
    let expected = PortMapping { host_port: 8080, container_port: 80, protocol: "tcp".into(), host_ip: None };
    assert_eq!(conf(text).port_mappings, [expected]);
}

#[test]
fn the_last_key_wins_in_whatever_spelling() {
    assert_eq!(conf(r#"{"name":"a","NAME":"b"}"#).name, "b");
    assert_eq!(conf(r#"{"NAME":"a","name":"b"}"#).name, "b");
    assert_eq!(conf(r#"{"name":"a","name":"b","Name":"c"}"#).name, "c");
}

#[test]
fn null_leaves_what_was_there() {
    assert_eq!(conf(r#"{"name":"a","name":null}"#).name, "a");
    assert_eq!(
        conf(r#"{"name":null,"mtu":null,"portMappings":null,"sysctl":null,"flag":null,"mode":null}"#),
        Conf::default()
    );
    assert_eq!(conf("null"), Conf::default());
}

#[test]
fn null_in_a_list_or_a_map_is_the_zero_value() {
    let conf = conf(r#"{"portMappings":[null],"sysctl":{"a":null}}"#);
    assert_eq!(conf.port_mappings, [PortMapping::default()]);
    assert_eq!(conf.sysctl["a"], "");
}

#[test]
fn map_keys_stay_as_written() {
    let conf = conf(r#"{"SYSCTL":{"net.A":"1","net.a":"2","net.a":"3"}}"#);
    let keys: Vec<_> = conf.sysctl.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(keys, [("net.A", "1"), ("net.a", "3")]);
}

#[test]
fn unknown_keys_are_ignored_whatever_they_hold() {
    assert_eq!(conf(r#"{"unknown":{"a":[1,{"b":null}]},"name":"a"}"#).name, "a");
}

#[test]
fn integers_must_be_whole_and_in_range() {
    assert_eq!(conf(r#"{"mtu":1500,"level":-128,"weight":2}"#).mtu, Some(1500));
    for text in [
        r#"{"mtu":1500.0}"#,
        r#"{"mtu":1.5e3}"#,
        r#"{"mtu":-1}"#,
        r#"{"mtu":4294967296}"#,
        r#"{"level":128}"#,
        r#"{"mtu":"1500"}"#,
        r#"{"mtu":18446744073709551616}"#,
        r#"{"mtu":true}"#,
    ] {
        let key = if text.contains("level") { "level: " } else { "mtu: " };
        assert!(refusal(text).starts_with(key), "{text}: {}", refusal(text));
    }
}

#[test]
fn a_wrong_type_is_refused_with_its_path() {
    assert!(refusal(r#"{"name":1}"#).starts_with("name: invalid type"));
    assert!(refusal(r#"{"portMappings":[{},{"HostPort":"x"}]}"#).starts_with("portMappings[1].hostPort: "));
    assert!(refusal(r#"{"portMappings":{}}"#).starts_with("portMappings: "));
    assert!(refusal(r#"{"ipam":[80,80]}"#).starts_with("ipam: "));
    assert!(refusal(r#"{"sysctl":{"a.b":1}}"#).starts_with("sysctl.a.b: "));
    assert!(refusal(r#"{"mode":"x"}"#).starts_with("mode: unknown variant"));
    assert!(refusal(r#"{"mode":1}"#).starts_with("mode: "));
    for text in ["[]", "\"x\"", "1", "true", "", "{", "{} x"] {
        refusal(text);
    }
}

#[test]
fn addresses_are_go_text_and_empty_is_unset() {
    let ip = |text: &str| {
        from_json::<PortMapping>(format!(r#"{{"hostip":"{text}"}}"#).as_bytes())
            .map(|mapping| mapping.host_ip)
    };
    assert_eq!(ip(""), Ok(None));
    assert_eq!(ip("10.0.0.1"), Ok(Some("10.0.0.1".parse().unwrap())));
    assert_eq!(ip("::ffff:10.0.0.1"), Ok(Some("10.0.0.1".parse().unwrap())));
    for text in ["010.0.0.1", "10.0.0", "10.0.0.1/8", "fe80::1%eth0", " 10.0.0.1", "x"] {
        assert_eq!(ip(text).unwrap_err().msg, format!("hostIP: invalid IP address: {text}"));
    }
}

#[test]
fn enums_newtypes_and_free_values_decode() {
    let conf = conf(r#"{"mode":"vepa","wrapped":"w","any":{"A":[1,null,"x",-1,1.5,false]}}"#);
    assert_eq!(conf.mode, Mode::Vepa);
    assert_eq!(conf.wrapped, Wrapped("w".into()));
    assert_eq!(conf.any, serde_json::json!({"A": [1, null, "x", -1, 1.5, false]}));
}
