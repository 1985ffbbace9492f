//! Tests of the plan.

use super::*;

const ETH0: u32 = 7;

fn ip(address: &str, gateway: Option<&str>) -> Ip {
    Ip {
        address: address.parse().unwrap(),
        gateway: gateway.map(|text| text.parse().unwrap()),
        interface: None,
    }
}

fn route(text: &str) -> Route {
    let mut words = text.split_whitespace();
    let mut route = Route::to(words.next().unwrap().parse().unwrap());
    route.oif = Some(ETH0);
    while let Some(word) = words.next() {
        let value = words.next().unwrap();
        match word {
            "via" => route.gateway = value.parse().ok(),
            "src" => route.prefsrc = value.parse().ok(),
            "table" => route.table = value.parse().unwrap(),
            "oif" => route.oif = value.parse().ok(),
            "metric" => route.metric = value.parse().ok(),
            _ => panic!("{word}"),
        }
    }
    route
}

fn shown(routes: &[Route]) -> Vec<String> {
    let show = |route: &Route| {
        let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        format!("{}{via} table {}", route.destination, route.table)
    };
    routes.iter().map(show).collect()
}

fn observed(routes: &[&str]) -> Observed {
    Observed { rules: Vec::new(), routes: routes.iter().map(|text| route(text)).collect(), index: ETH0 }
}

fn own(main: Main) -> Conf {
    Conf::Own(Own { main, ..Own::default() })
}

#[test]
fn each_address_has_a_rule_a_table_and_its_part_of_the_routes() {
    let there = observed(&[
        "10.1.0.0/16 src 10.1.0.5",
        "10.2.0.0/16 src 10.2.0.5",
        "0.0.0.0/0 via 10.1.0.1",
        "203.0.113.0/24 via 10.2.0.9",
        "fd00::/64",
        "192.0.2.0/24 oif 9",
    ]);
    let addresses =
        [ip("10.1.0.5/16", Some("10.1.0.1")), ip("10.2.0.5/16", None), ip("fd00::5/64", Some("fd00::1"))];
    let plan = plan(&own(Main::Emptied), ("eth0", &addresses), &there);
    let rules: Vec<_> =
        plan.rules.iter().map(|rule| (rule.source.unwrap().to_string(), rule.table)).collect();
    assert_eq!(
        rules,
        [("10.1.0.5/32".into(), 100), ("10.2.0.5/32".into(), 101), ("fd00::5/128".to_owned(), 102)]
    );
    assert_eq!(
        shown(&plan.routes),
        [
            "10.1.0.0/16 table 100",
            "0.0.0.0/0 via 10.1.0.1 table 100",
            "10.2.0.0/16 table 101",
            "203.0.113.0/24 via 10.2.0.9 table 101",
            "fd00::/64 table 102",
            "::/0 via fd00::1 table 102",
        ]
    );
    assert_eq!(plan.removals.len(), 5, "another interface's routes stay");
    assert!(plan.removals.first().unwrap().gateway.is_some());
}

#[test]
fn weakness_56_a_table_with_routes_but_no_rule_is_taken() {
    let mut there = observed(&["198.51.100.0/24 table 100 oif 3", "198.51.101.0/24 table 102"]);
    there.rules.push(Rule {
        source: None,
        table: 101,
        protocol: 3,
        ..rule("x", "10.0.0.1/8".parse().unwrap(), 0)
    });
    let plan = plan(&own(Main::Emptied), ("eth0", &[ip("10.0.0.1/8", None), ip("10.0.0.2/8", None)]), &there);
    assert_eq!(plan.rules.iter().map(|rule| rule.table).collect::<Vec<_>>(), [103, 104]);
}

#[test]
fn a_table_is_never_one_of_the_kernels() {
    let full: Vec<String> = (100..253).map(|table| format!("198.51.100.0/24 table {table}")).collect();
    let there = observed(&full.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(free_table(&there, &[]), 256);
}

#[test]
fn an_add_that_was_there_before_keeps_its_table() {
    let address = ip("10.1.0.5/16", None);
    let mut there = observed(&["10.1.0.0/16 table 100"]);
    there.rules.push(rule("eth0", address.address, 100));
    assert_eq!(plan(&own(Main::Emptied), ("eth0", &[address]), &there).rules, there.rules);
}

#[test]
fn a_table_of_others_gets_rules_and_nothing_else() {
    let there = observed(&["10.1.0.0/16", "0.0.0.0/0 via 10.1.0.1"]);
    let plan = plan(&Conf::Table(5000), ("eth0", &[ip("10.1.0.5/16", Some("10.1.0.1"))]), &there);
    assert_eq!(plan.rules.iter().map(|rule| rule.table).collect::<Vec<_>>(), [5000]);
    assert_eq!((plan.routes.len(), plan.removals.len()), (0, 0));
}

#[test]
fn source_hints_keep_the_way_to_the_neighbours() {
    let there =
        observed(&["10.1.0.0/16", "0.0.0.0/0 via 10.1.0.1", "fd00::/64 metric 256", "fe80::/64 metric 256"]);
    let addresses = [ip("10.1.0.5/16", Some("10.1.0.1")), ip("fd00::5/64", None)];
    let plan = plan(&own(Main::Hints), ("eth0", &addresses), &there);
    let hints: Vec<_> = plan.routes.iter().filter(|route| route.table == MAIN).collect();
    assert_eq!(
        hints.iter().map(|route| route.prefsrc).collect::<Vec<_>>(),
        addresses.map(|ip| Some(ip.address.ip()))
    );
    assert_eq!(shown(&plan.removals), ["0.0.0.0/0 via 10.1.0.1 table 254"]);
}

#[test]
fn link_local_routes_stay_where_neighbours_are_found_by_them() {
    let there = observed(&["fe80::/64 metric 256", "fd00::/64 metric 256"]);
    let plan = plan(&own(Main::Emptied), ("eth0", &[ip("fd00::5/64", None)]), &there);
    assert_eq!(shown(&plan.removals), ["fd00::/64 table 254"]);
}

#[test]
fn a_static_gateway_stands_for_the_addresss_and_for_a_copied_default() {
    let conf = Conf::Own(Own { gateway_v4: "10.1.0.254".parse().ok(), ..Own::default() });
    let there = observed(&["10.1.0.0/16", "0.0.0.0/0 via 10.1.0.1"]);
    let plan = plan(&conf, ("eth0", &[ip("10.1.0.5/16", Some("10.1.0.1"))]), &there);
    assert_eq!(shown(&plan.routes), ["10.1.0.0/16 table 100", "0.0.0.0/0 via 10.1.0.254 table 100"]);
}

#[test]
fn an_address_of_another_interface_is_not_ours() {
    let named = |name: &str| cni::Interface { name: name.into(), ..cni::Interface::default() };
    let at = |address: &str, interface: Option<usize>| Ip { interface, ..ip(address, None) };
    let result = AddResult {
        interfaces: vec![named("cni0"), named("eth0")],
        ips: vec![
            at("10.0.0.1/8", Some(0)),
            at("10.0.0.2/8", Some(1)),
            at("10.0.0.3/8", None),
            at("10.0.0.4/8", Some(9)),
        ],
        ..AddResult::default()
    };
    let found: Vec<_> = addresses(&result, "eth0").iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(found, ["10.0.0.2/8", "10.0.0.3/8", "10.0.0.4/8"]);
}
