//! Start, work and end of a daemon that nobody disturbs, and of one whose kernel state is disturbed.

use std::fs;

use kernel::Route;
use kernel::nft::{Family, Nft, Table, Transaction};
use nix::sys::signal::Signal;

use super::world::{SOON, START, World, eventually, v4};

const V4: &str = r#"{"Network":"10.3.0.0/16","Backend":{"Type":"host-gw"}}"#;
const DUAL: &str =
    r#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{"Type":"host-gw"}}"#;

#[test]
fn two_nodes_route_to_each_other_and_a_signal_leaves_the_data_path() {
    let world = World::new(2, DUAL);
    let (one, two) = (world.node(1), world.node(2));
    let daemons = [one.ready(&["-healthz-port=8471"]), two.ready(&[])];
    let routes = one.wait_routes(2, SOON);
    assert!(routes.contains(&(two.subnet(), v4("192.0.2.2"))), "{routes:?}");
    two.wait_routes(2, SOON);
    assert!(one.readyz().contains(r#""ready":true"#), "{}", one.readyz());
    for daemon in daemons {
        assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    }
    assert_eq!(one.routes(), routes);
    assert!(one.subnet_file().exists());
}

#[test]
fn a_restarted_daemon_keeps_its_subnet_and_drops_routes_of_nodes_that_left_meanwhile_issue_2554() {
    let world = World::new(3, V4);
    let daemons: Vec<_> = world.nodes.iter().map(|node| node.ready(&[])).collect();
    let one = world.node(1);
    one.wait_routes(2, SOON);
    let subnet = one.subnet();
    drop(daemons);
    fs::remove_file(world.lease_of(3)).unwrap();
    let _daemon = one.ready(&[]);
    assert_eq!(one.subnet(), subnet);
    assert_eq!(one.wait_routes(1, SOON)[0].1, v4("192.0.2.2"));
}

#[test]
fn a_deleted_route_and_a_lost_uplink_are_mended_within_a_second_issue_1070() {
    let world = World::new(2, V4);
    let (one, two) = (world.node(1), world.node(2));
    let _daemons = [one.ready(&[]), two.ready(&[])];
    let routes = one.wait_routes(1, SOON);
    one.delete_route(routes[0]);
    assert_eq!(one.wait_routes(1, SOON), routes);
    one.rtnl().set_link_down(one.uplink()).unwrap();
    one.wait_routes(0, SOON);
    one.rtnl().set_link_up(one.uplink()).unwrap();
    assert_eq!(one.wait_routes(1, SOON), routes);
    let index = one.uplink();
    one.rtnl().delete_link(index).unwrap();
    // A veth's other end goes a moment after it: the port must be free before it is made again.
    eventually(SOON, || one.rtnl().link("eth0").unwrap().is_none().then_some(()));
    world.plug(1);
    assert_eq!(one.wait_routes(1, SOON), routes);
}

#[test]
fn flushed_rules_come_back_within_a_second() {
    let world = World::new(1, V4);
    let one = world.node(1);
    let _daemon = one.ready(&["-ip-masq"]);
    let mut nft = Nft::open_in(&one.netns).unwrap();
    let table = Table::new(Family::Inet, "ironbridged");
    let count = |nft: &mut Nft| -> usize {
        let chains = nft.chains(table).unwrap();
        chains.iter().map(|chain| nft.rules(table.chain(&chain.name)).unwrap().len()).sum()
    };
    assert_eq!(count(&mut nft), 8);
    let mut changes = Transaction::new();
    changes.delete_table(table);
    changes.commit(&mut nft).unwrap();
    assert_eq!(eventually(SOON, || Some(count(&mut nft)).filter(|rules| *rules == 8)), Some(8));
    let chain = nft.chains(table).unwrap()[0].name.clone();
    let mut changes = Transaction::new();
    changes.flush_chain(table.chain(&chain));
    changes.commit(&mut nft).unwrap();
    assert_eq!(eventually(SOON, || Some(count(&mut nft)).filter(|rules| *rules == 8)), Some(8));
}

#[test]
fn rules_of_flags_that_were_taken_away_go_at_the_next_start() {
    let world = World::new(1, V4);
    let one = world.node(1);
    drop(one.ready(&["-ip-masq"]));
    let _daemon = one.ready(&["-iptables-forward-rules=false"]);
    let mut nft = Nft::open_in(&one.netns).unwrap();
    assert_eq!(nft.chains(Table::new(Family::Inet, "ironbridged")).unwrap(), []);
    assert!(fs::read_to_string(one.subnet_file()).unwrap().contains("FLANNEL_IPMASQ=false"));
}

#[test]
fn a_foreign_route_in_the_way_is_reported_and_flanneld_s_own_is_taken_over_in_place() {
    let world = World::new(3, V4);
    let (one, two, three) = (world.node(1), world.node(2), world.node(3));
    let _peers = [two.ready(&[]), three.ready(&[])];
    let route = |to, via, protocol| Route { gateway: Some(v4(via)), protocol, ..Route::to(to) };
    one.rtnl().add_route(&route(two.subnet(), "192.0.2.2", 3)).unwrap();
    let foreign = route(three.subnet(), "192.0.2.77", 4);
    one.rtnl().add_route(&foreign).unwrap();
    let daemon = one.ready(&[]);
    assert_eq!(one.wait_routes(1, SOON), [(two.subnet(), v4("192.0.2.2"))]);
    daemon.wait_log("somebody else's route is in its place (via 192.0.2.77", SOON);
    one.rtnl().delete_route(&foreign).unwrap();
    one.wait_routes(2, SOON);
}

#[test]
fn the_health_port_in_use_is_an_error_not_a_panic() {
    let world = World::new(1, V4);
    let one = world.node(1);
    let _first = one.ready(&["-healthz-port=8471"]);
    let mut second = one.start(&["-healthz-port=8471"]);
    assert_eq!(second.status(), Some(1));
    assert!(second.log().contains("cannot listen on 0.0.0.0:8471"), "{}", second.log());
}

#[test]
fn a_wrong_flag_ends_with_status_2() {
    let world = World::new(1, V4);
    for flag in ["-no-such-flag", "-kube-subnet-mgr", "-store=consul", "-iface-regex=("] {
        assert_eq!(world.node(1).start(&[flag]).status(), Some(2), "{flag}");
    }
}

#[test]
fn without_a_configuration_it_waits_says_what_is_missing_and_goes_on_when_it_is_there() {
    let world = World::new(1, V4);
    let one = world.node(1);
    let config = world.store().join("config");
    fs::remove_file(&config).unwrap();
    let daemon = one.start(&["-healthz-port=8471"]);
    daemon.wait_log("no network configuration", START);
    assert!(one.readyz().starts_with("HTTP/1.0 503"), "{}", one.readyz());
    assert!(!one.subnet_file().exists());
    super::world::replace(&config, V4);
    eventually(START, || one.subnet_file().exists().then_some(())).unwrap();
}

#[test]
fn an_ipv6_only_network_gives_each_node_its_own_lease() {
    let config =
        r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{"Type":"host-gw"}}"#;
    let world = World::new(2, config);
    let _daemons: Vec<_> = world.nodes.iter().map(|node| node.ready(&[])).collect();
    let gateways =
        world.nodes.iter().map(|node| node.wait_routes(1, SOON)[0].1.to_string()).collect::<Vec<_>>();
    assert_eq!(gateways, ["fd00::2", "fd00::1"]);
}

#[test]
fn the_rules_read_as_flannels_iptables_rules_do() {
    let world = World::new(1, DUAL);
    let one = world.node(1);
    let _daemon = one.ready(&["-ip-masq", "-ip-masq-fully-random-disable"]);
    let own = overlay::Previous::parse(&fs::read_to_string(one.subnet_file()).unwrap()).subnets;
    let (v4, v6) = (own.v4.unwrap(), own.v6.unwrap());
    let list = || std::process::Command::new("nft").args(["list", "table", "inet", "ironbridged"]).output();
    let text = String::from_utf8(one.netns.run(list).unwrap().unwrap().stdout).unwrap();
    let rules: Vec<&str> =
        text.lines().filter_map(|line| line.trim().split_once(" comment ")).map(|(rule, _)| rule).collect();
    let family = |ip: &str, n: &str, s: String, m: &str| {
        [
            format!("{ip} saddr {s} {ip} daddr {n} return"),
            format!("{ip} saddr {n} {ip} daddr {s} return"),
            format!("{ip} saddr != {n} {ip} daddr {s} return"),
            format!("{ip} saddr {n} {ip} daddr != {m} masquerade"),
            format!("{ip} saddr != {n} {ip} daddr {n} masquerade"),
        ]
    };
    let mut want = vec!["meta mark & 0x00004000 == 0x00004000 return".to_owned()];
    want.extend(family("ip", "10.3.0.0/16", v4.to_string(), "224.0.0.0/4"));
    want.extend(family("ip6", "fd03::/48", v6.to_string(), "ff00::/8"));
    for (ip, n) in [("ip", "10.3.0.0/16"), ("ip6", "fd03::/48")] {
        want.extend([format!("{ip} saddr {n} accept"), format!("{ip} daddr {n} accept")]);
    }
    assert_eq!(rules, want);
}
