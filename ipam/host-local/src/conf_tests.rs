//! Configurations: the order of sets and requests, and what DEL needs of a broken one.
use super::*;
use cni::{Code, Env};
use std::ffi::OsString;

fn call(command: &str, args: &str, config: &str) -> Result<Call, cni::Error> {
    let env: Env = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/some/where"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_ARGS", args),
    ]
    .into_iter()
    .map(|(key, value)| (OsString::from(key), OsString::from(value)))
    .collect();
    Call::read(&env, config.as_bytes().to_vec(), &Version::ALL, &[])
}

fn read(args: &str, rest: &str) -> Result<Conf, cni::Error> {
    read_version("1.0.0", args, rest)
}

fn read_version(version: &str, args: &str, rest: &str) -> Result<Conf, cni::Error> {
    let config = format!(r#"{{"cniVersion":"{version}","name":"net","type":"bridge",{rest}}}"#);
    Conf::read(&call("ADD", args, &config).unwrap())
}

fn sets(conf: &Conf) -> Vec<String> {
    conf.slots.iter().map(|slot| slot.set.to_string()).collect()
}

fn requests(conf: &Conf) -> Vec<Option<String>> {
    conf.slots.iter().map(|slot| slot.request.map(|request| request.address.to_string())).collect()
}

#[test]
fn sets_stand_in_the_order_ipranges_old_form_ranges() {
    let conf = read(
        "",
        r#""runtimeConfig":{"ipRanges":[[{"Subnet":"10.3.0.0/24","RangeStart":"10.3.0.9","Gateway":""}]]},
           "ipam":{"type":"host-local","subnet":"10.2.0.0/24","rangeEnd":"10.2.0.9","gateway":"10.2.0.254",
                   "ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"10.1.1.0/24"}]]}"#,
    )
    .unwrap();
    let expected = ["10.3.0.9-10.3.0.254", "10.2.0.1-10.2.0.9", "10.1.0.1-10.1.0.254,10.1.1.1-10.1.1.254"];
    assert_eq!(sets(&conf), expected);
    assert_eq!(conf.slots[1].set.ranges()[0].gateway().to_string(), "10.2.0.254");
    assert_eq!(conf.scope.data_dir, PathBuf::from("/var/lib/cni/networks"));
}

#[test]
fn every_other_key_is_read() {
    let conf = read(
        "",
        r#""ipam":{"subnet":"10.2.0.0/24","dataDir":"/elsewhere","resolvConf":"/etc/r","routes":[{"dst":"0.0.0.0/0"},
           {"dst":"10.0.0.0/8","gw":"10.2.0.1","mtu":1400,"advmss":1300,"priority":7,"table":100,"scope":0}]}"#,
    )
    .unwrap();
    assert_eq!(conf.scope, Scope { data_dir: "/elsewhere".into(), network: "net".into() });
    assert_eq!(conf.resolv_conf, Some("/etc/r".into()));
    let route = &conf.routes[1];
    assert_eq!((route.mtu, route.advmss, route.priority), (Some(1400), Some(1300), Some(7)));
    assert_eq!((route.table, route.scope), (Some(100), Some(0)));
}

#[test]
fn requests_come_from_cni_args_then_args_then_runtime_config() {
    let rest = r#""args":{"cni":{"ips":["10.1.0.6/24","10.1.0.7"]}},"runtimeConfig":{"ips":["10.1.0.8"]},
                  "ipam":{"ranges":[[{"subnet":"10.1.0.0/24","rangeEnd":"10.1.0.6"}],[{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.7","rangeEnd":"10.1.0.7"}],
                  [{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.8"}]]}"#;
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(requests(&read("", rest).unwrap()), [some("10.1.0.6"), some("10.1.0.7"), some("10.1.0.8")]);
    let error = read("IgnoreUnknown=1;IP=10.1.0.5", rest).unwrap_err();
    assert!(error.msg.contains("10.1.0.6"), "the first set has its one: {error}");
    assert_eq!(error.code, Code::INVALID_CONFIG);
}

#[test]
fn weakness_5_which_of_several_requests_is_served_does_not_change() {
    let rest = r#""runtimeConfig":{"ips":["10.1.0.8","10.1.0.9"]},"ipam":{"subnet":"10.1.0.0/24"}"#;
    for _ in 0..20 {
        let error = read("IP=10.1.0.7", rest).unwrap_err();
        assert!(error.msg.contains("10.1.0.8, 10.1.0.9") && !error.msg.contains("10.1.0.7"), "{error}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (args, rest, part) in [
        ("", r#""x":1"#, "no `ipam`"),
        ("", r#""ipam":{"type":"host-local"}"#, "no IP ranges specified"),
        ("", r#""ipam":{"ranges":[[{"subnet":"10.1.0.0/24"}],[]]}"#, "range set 1 is empty"),
        ("", r#""ipam":{"subnet":"10.1.0.0"}"#, "10.1.0.0"),
        ("", r#""ipam":{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.x"}"#, "10.1.0.x"),
        ("IP=nonsense", r#""ipam":{"subnet":"10.1.0.0/24"}"#, "nonsense"),
        ("", r#""runtimeConfig":{"ips":["10.1.0.2/240"]},"ipam":{"subnet":"10.1.0.0/24"}"#, "10.1.0.2/240"),
    ] {
        let error = read(args, rest).unwrap_err();
        assert!(error.to_string().contains(part), "{part}: {error}");
        assert_eq!(error.code, Code::INVALID_CONFIG, "{error}");
    }
}

#[test]
fn old_versions_have_room_for_one_address_a_family() {
    let two = r#""ipam":{"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]]}"#;
    let dual = r#""ipam":{"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]}"#;
    let error = read_version("0.2.0", "", two).unwrap_err();
    assert!(
        error.msg.starts_with("CNI version 0.2.0 does not support more than 1 address per family"),
        "{error}"
    );
    assert!(read_version("0.2.0", "", dual).is_ok());
    assert!(read_version("0.3.0", "", two).is_ok());
}

#[test]
fn weakness_9_del_finds_its_files_whatever_has_become_of_the_ranges() {
    for ipam in [
        "",
        r#","ipam":null"#,
        r#","ipam":{}"#,
        r#","ipam":{"subnet":"10.1.0.0/31"}"#,
        r#","ipam":{"subnet":"rubbish","ranges":"none"}"#,
        r#","ipam":{"ranges":[[]]},"runtimeConfig":{"ips":["x"]}"#,
    ] {
        let config = format!(r#"{{"cniVersion":"1.0.0","name":"net","type":"bridge"{ipam}}}"#);
        let scope = Scope::read(&call("DEL", "IP=rubbish;x", &config).unwrap()).unwrap();
        assert_eq!(scope, Scope { data_dir: DEFAULT_DATA_DIR.into(), network: "net".into() }, "{ipam}");
    }
    let config = r#"{"cniVersion":"1.0.0","name":"net","type":"bridge","IPAM":{"datadir":"/x","ranges":7}}"#;
    assert_eq!(Scope::read(&call("DEL", "", config).unwrap()).unwrap().data_dir, PathBuf::from("/x"));
}
