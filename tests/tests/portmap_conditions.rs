//! `conditionsV4` and `conditionsV6` with packets: nft's words and iptables' words mean the same, natively and by iptables.

use netns_fixtures::{Bins, Echo, Pod, Protocol, Space, assert_ping, needs, tcp_echo};
use serde_json::{Value, json};
use tests::World;
use tests::ports::{add, at, bins, mapping, published, target};

/// Where the hub (192.168.50.254, `fd50::fe`) asks for the port, by its node's two addresses of each family.
const ASKED: [&str; 4] = ["192.168.50.1", "192.168.50.101", "fd50::1", "fd50::101"];

/// Which of [`ASKED`] answer, and whether iptables has rules for it.
fn answered(portmap: &Value) -> ([bool; 4], bool) {
    let world = World::with(bins());
    let host = world.host();
    host.run("ip address add 192.168.50.101/24 dev eth0");
    host.run("ip address add fd50::101/64 dev eth0 nodad");
    host.run("iptables -t mangle -A PREROUTING -i eth0 -j MARK --set-mark 0x15");
    let (pod, runtime, network) = (Pod::new(), world.runtime(), published(&world, portmap));
    let ports = target("web", &pod, &[mapping("tcp", 8080, 80)]);
    add(&runtime, &network, &ports);
    runtime.check(&network, &ports).unwrap_or_else(|failure| panic!("{portmap}: {failure}"));
    // The gateway's new IPv6 address is tested for duplicates first.
    assert_ping(&pod, "fd50::fe");
    let _web = Echo::start(&pod, Protocol::Tcp, 80);
    let reached = ASKED.map(|ip| tcp_echo(world.underlay.hub(), at(ip, 8080)).is_ok());
    (reached, host.run("iptables-save -t nat").contains("CNI-DN-"))
}

/// A case: in nft's words, in iptables' words, and which addresses answer.
type Case = (&'static str, &'static str, [bool; 2]);

#[test]
fn both_languages_mean_the_same_natively_and_by_iptables() {
    needs!(IptablesNat);
    let cases: [Case; 8] = [
        ("ip daddr != 192.168.50.1", "! -d 192.168.50.1", [false, true]),
        ("ip daddr { 192.168.50.1, 192.0.2.0/24 }", "-d 192.168.50.1,192.0.2.0/24", [true, false]),
        (
            "ip daddr != { 192.168.50.101, 192.0.2.1 }",
            "! -d 192.168.50.101 -m iprange ! --dst-range 192.0.2.1-192.0.2.3",
            [true, false],
        ),
        (
            "ip saddr 192.168.50.250-192.168.50.254",
            "-m iprange --src-range 192.168.50.250-192.168.50.254",
            [true, true],
        ),
        ("ip saddr 0.0.0.0/0 iifname eth*", "-s 0.0.0.0/0 -i eth+", [true, true]),
        ("iifname != { eth0, lo }", "! -i eth0", [false, false]),
        ("meta mark & 0xf == 0x5", "-m mark --mark 0x5/0xf", [true, true]),
        (
            "meta mark != 21 ip saddr 192.168.50.0/24",
            "-m mark ! --mark 0x15 -s 192.168.50.0/24",
            [false, false],
        ),
    ];
    for (nft, iptables, wanted) in cases {
        let words: Vec<&str> = iptables.split(' ').collect();
        let wanted = [wanted[0], wanted[1], true, true];
        assert_eq!(answered(&json!({"conditionsV4": [nft]})), (wanted, false), "{nft}");
        assert_eq!(answered(&json!({"conditionsV4": words})), (wanted, false), "{iptables}");
        let oracle = answered(&json!({"backend": "iptables", "conditionsV4": words}));
        assert_eq!(oracle, (wanted, true), "{iptables}, by iptables");
    }
}

#[test]
fn conditions_of_ipv6_are_ipv6s_alone() {
    for words in [json!(["ip6 daddr != fd50::1"]), json!(["!", "-d", "fd50::1"])] {
        let (reached, by_iptables) = answered(&json!({"conditionsV6": words}));
        assert_eq!((reached, by_iptables), ([true, true, false, true], false), "{words}");
    }
}

#[test]
fn what_only_iptables_says_is_said_by_iptables_without_being_told() {
    needs!(IptablesNat);
    for words in ["-m addrtype --src-type UNICAST", "-m conntrack --ctstate NEW", "-m multiport --ports 8080"]
    {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(answered(&json!({"conditionsV4": words})), ([true; 4], true), "{words:?}");
    }
    let none = json!(["-m", "addrtype", "--src-type", "MULTICAST"]);
    assert_eq!(answered(&json!({"conditionsV4": none})), ([false, false, true, true], true));
}

/// The condition is asked of a packet as it came: not as our own mark has changed it.
#[test]
fn a_condition_on_the_mark_sees_the_packet_as_it_came() {
    needs!(IptablesNat);
    let whole = json!({"masqAll": true, "conditionsV4": ["meta mark 0x15"]});
    assert_eq!(answered(&whole).0, [true; 4]);
}

#[test]
fn words_that_nobody_understands_are_refused_with_a_remedy() {
    let world = World::with(Bins::multicall());
    let (pod, runtime) = (Pod::new(), world.runtime());
    let network = published(&world, &json!({"conditionsV4": ["ct state new"]}));
    let refused =
        runtime.add(&network, &target("web", &pod, &[mapping("tcp", 8080, 80)])).expect_err("refused");
    let error = refused.error();
    assert_eq!(error.code, 2, "{refused}");
    assert!(
        error.msg.contains("\"ct state new\"") && error.msg.contains("\"backend\" to \"iptables\""),
        "{refused}"
    );
}
