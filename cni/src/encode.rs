//! Writing results: what each version can say, and the exact layout in which it says it.

use std::net::IpAddr;

use crate::error::Error;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::result::{AddResult, Dns, Interface, Ip, Route};
use crate::version::{Layout, Version};

type Entries = Vec<(String, Node)>;

impl AddResult {
    /// The result as a reader at this version sees it (the conversions of the Go library): before 0.3.0 one
    /// address a family, routes of those families with destination and next hop alone, no interfaces;
    /// before 1.0.0 no `mtu`, `socketPath` and `pciID`.
    pub(crate) fn seen_at(&self, version: Version) -> Result<Self, Error> {
        let mut seen = match version.layout() {
            Layout::Plain | Layout::Versioned => self.clone(),
            Layout::PerFamily => self.first_of_each_family()?,
        };
        if version.layout() == Layout::Versioned {
            seen.interfaces.iter_mut().for_each(Interface::forget_newer_fields);
        }
        Ok(seen)
    }

    fn first_of_each_family(&self) -> Result<Self, Refusal> {
        let mut seen = Self { dns: self.dns.clone(), ..Self::default() };
        for ipv4 in [true, false] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.is_ipv4() == ipv4) else { continue };
            seen.ips.push(Ip { interface: None, ..ip.clone() });
            let mine = self.routes.iter().filter(|route| route.dst.is_ipv4() == ipv4);
            seen.routes.extend(mine.map(|route| Route { gw: route.gw, ..Route::to(route.dst) }));
        }
        if seen.ips.is_empty() { Err(Refusal::NoAddress) } else { Ok(seen) }
    }
}

/// The document for a result that is already [`AddResult::seen_at`] this version.
pub(crate) fn document(result: &AddResult, version: Version) -> Node {
    let mut top = vec![entry("cniVersion", version.as_str())];
    match version.layout() {
        Layout::PerFamily => {
            top.extend(result.ips.iter().map(|ip| family(ip, &result.routes)));
            top.push(entry("dns", dns(&result.dns)));
        }
        Layout::Versioned => {
            push_lists(&mut top, result, version.layout());
            top.push(entry("dns", dns(&result.dns)));
        }
        Layout::Plain => {
            if !result.dns.is_empty() {
                top.push(entry("dns", in_layout(dns(&result.dns), Layout::Plain)));
            }
            push_lists(&mut top, result, version.layout());
            sort(&mut top);
        }
    }
    Node::Object(top)
}

/// The `ip4` or `ip6` entry of an address, with the routes of its family.
fn family(ip: &Ip, routes: &[Route]) -> (String, Node) {
    let ipv4 = ip.address.is_ipv4();
    let mut object = vec![entry("ip", ip.address.to_string())];
    push_ip(&mut object, "gateway", ip.gateway);
    push_list(&mut object, "routes", routes.iter().filter(|route| route.dst.is_ipv4() == ipv4).map(route));
    entry(if ipv4 { "ip4" } else { "ip6" }, Node::Object(object))
}

fn push_lists(top: &mut Entries, result: &AddResult, layout: Layout) {
    push_list(top, "interfaces", result.interfaces.iter().map(|link| interface(link, layout)));
    push_list(top, "ips", result.ips.iter().map(|address| ip(address, layout)));
    push_list(top, "routes", result.routes.iter().map(|to| in_layout(route(to), layout)));
}

fn interface(interface: &Interface, layout: Layout) -> Node {
    let mut object = vec![entry("name", interface.name.as_str())];
    push_text(&mut object, "mac", interface.mac.as_deref());
    push_number(&mut object, "mtu", interface.mtu.filter(|mtu| *mtu != 0));
    push_text(&mut object, "sandbox", interface.sandbox.as_deref());
    push_text(&mut object, "socketPath", interface.socket_path.as_deref());
    push_text(&mut object, "pciID", interface.pci_id.as_deref());
    in_layout(Node::Object(object), layout)
}

fn ip(ip: &Ip, layout: Layout) -> Node {
    let mut object = Entries::new();
    if layout == Layout::Versioned {
        object.push(entry("version", if ip.address.is_ipv4() { "4" } else { "6" }));
    }
    // a pointer in Go: position 0 is printed
    push_number(&mut object, "interface", ip.interface.map(|position| position as u64));
    object.push(entry("address", ip.address.to_string()));
    push_ip(&mut object, "gateway", ip.gateway);
    in_layout(Node::Object(object), layout)
}

fn route(route: &Route) -> Node {
    let mut object = vec![entry("dst", route.dst.to_string())];
    push_ip(&mut object, "gw", route.gw);
    push_number(&mut object, "mtu", route.mtu.filter(|mtu| *mtu != 0));
    push_number(&mut object, "advmss", route.advmss.filter(|advmss| *advmss != 0));
    push_number(&mut object, "priority", route.priority.filter(|priority| *priority != 0));
    // pointers in Go: an explicit 0 is printed
    push_number(&mut object, "table", route.table);
    push_number(&mut object, "scope", route.scope);
    Node::Object(object)
}

fn dns(dns: &Dns) -> Node {
    let texts = |items: &[String]| items.iter().map(|item| Node::from(item.as_str())).collect::<Vec<_>>();
    let mut object = Entries::new();
    push_list(&mut object, "nameservers", texts(&dns.nameservers));
    push_text(&mut object, "domain", Some(&dns.domain));
    push_list(&mut object, "search", texts(&dns.search));
    push_list(&mut object, "options", texts(&dns.options));
    Node::Object(object)
}

/// From 1.0.0 on the Go library prints through a map: keys in alphabetical order.
fn in_layout(mut node: Node, layout: Layout) -> Node {
    if let (Node::Object(entries), Layout::Plain) = (&mut node, layout) {
        sort(entries);
    }
    node
}

fn sort(entries: &mut Entries) {
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
}

fn entry(key: &str, value: impl Into<Node>) -> (String, Node) {
    (key.to_owned(), value.into())
}

fn push_text(object: &mut Entries, key: &str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        object.push(entry(key, text));
    }
}

fn push_ip(object: &mut Entries, key: &str, ip: Option<IpAddr>) {
    if let Some(ip) = ip {
        object.push(entry(key, ip.to_canonical().to_string()));
    }
}

fn push_number(object: &mut Entries, key: &str, number: Option<impl Into<u64>>) {
    if let Some(number) = number {
        object.push(entry(key, number.into()));
    }
}

fn push_list(object: &mut Entries, key: &str, items: impl IntoIterator<Item = Node>) {
    let items: Vec<Node> = items.into_iter().collect();
    if !items.is_empty() {
        object.push(entry(key, Node::Array(items)));
    }
}
