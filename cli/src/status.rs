//! `ironbridge status`: what the daemon of this node knows, as a table or as JSON.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use overlay::{LeaseOverview, Overview, RouteOverview, RouteState};

use crate::ask::{self, AskError};
use crate::table::{age, aligned};

/// What the daemon of this node knows.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The daemon's status socket
    #[arg(long, default_value = ask::SOCKET)]
    socket: PathBuf,
    /// The daemon's document as it is
    #[arg(long)]
    json: bool,
}

/// The daemon answers, and is not ready.
const NOT_READY: u8 = 1;
/// There is nobody to ask.
const NO_ANSWER: u8 = 2;

impl Status {
    /// The text to print and the exit status: 0 ready, 1 not ready.
    pub fn run(&self) -> Result<(String, ExitCode), AskError> {
        let overview = ask::ask(&self.socket)?;
        let code = if overview.ready { ExitCode::SUCCESS } else { ExitCode::from(NOT_READY) };
        let text = if self.json {
            // Text, numbers and flags: nothing that JSON cannot say.
            serde_json::to_string_pretty(&overview).unwrap_or_default() + "\n"
        } else {
            describe(&overview)
        };
        Ok((text, code))
    }

    /// The exit status when nobody answers.
    pub fn no_answer() -> ExitCode {
        ExitCode::from(NO_ANSWER)
    }
}

fn describe(overview: &Overview) -> String {
    let parts = [head(overview), leases(&overview.leases), routes(&overview.routes), problems(overview)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn head(overview: &Overview) -> String {
    let state = match &overview.waiting {
        _ if overview.ready => "ready".to_owned(),
        Some(waiting) => format!("not ready: {waiting}"),
        None => "not ready".to_owned(),
    };
    let up = seconds(overview.up_seconds);
    let about = format!("ironbridged {}, process {}, for {up}", overview.version, overview.pid);
    let mut lines = vec![line("state", state), line("daemon", about)];
    lines.extend(node(overview));
    lines.push(line("store", store(overview)));
    if let Some(pass) = &overview.last_pass {
        let end = if pass.done { "all as it should be" } else { "not all could be put right" };
        let took = Duration::from_micros(pass.microseconds);
        lines.push(line("compared", format!("{} ago in {took:?}: {end}", seconds(pass.seconds_ago))));
    }
    aligned(&lines)
}

fn line(key: &str, value: String) -> [String; 2] {
    [key.to_owned(), value]
}

fn seconds(number: u64) -> String {
    age(Duration::from_secs(number))
}

fn node(Overview { node, network, .. }: &Overview) -> Vec<[String; 2]> {
    if node.uplink.is_empty() {
        return Vec::new();
    }
    let name = node.name.as_deref().unwrap_or("no name (--node-name)");
    let addresses: Vec<&str> = node.public_ip.iter().chain(&node.public_ipv6).map(String::as_str).collect();
    let mut lines = vec![
        line("node", format!("{name}, {}", addresses.join(" and "))),
        line("uplink", format!("{}, MTU {}: {}", node.uplink, node.mtu, node.why)),
        line("lease", format!("{}, {}", node.subnets.join(" and "), node.standing)),
    ];
    lines.extend(network.ranges.iter().map(|range| {
        let free = format!("{} of {} subnets free", range.free, range.subnets);
        line("network", format!("{}, {}, {free}", range.network, network.backend))
    }));
    lines
}

fn store(Overview { store, .. }: &Overview) -> String {
    if store.live {
        return format!("live, revision {}", store.revision);
    }
    let why = store.why.as_deref().unwrap_or("nothing read yet");
    format!("out of reach for {}: {why}; everything stays as it is", seconds(store.stale_seconds))
}

fn leases(leases: &[LeaseOverview]) -> String {
    if leases.is_empty() {
        return String::new();
    }
    let mut lines = vec![["LEASE", "NODE", "ADDRESS", "BACKEND", "AGE", "ENDS IN"].map(str::to_owned)];
    lines.extend(leases.iter().map(|lease| {
        let addresses: Vec<&str> =
            lease.public_ip.iter().chain(&lease.public_ipv6).map(String::as_str).collect();
        let own = if lease.own { " (this node)" } else { "" };
        let known = seconds(lease.age_seconds);
        [
            lease.subnets.join(" "),
            format!("{}{own}", lease.node.as_deref().unwrap_or("-")),
            addresses.join(" "),
            lease.backend.clone(),
            if lease.age_is_least { format!("> {known}") } else { known },
            match (lease.reserved, lease.expires_in_seconds) {
                (true, _) => "never".to_owned(),
                (false, Some(left)) => seconds(left),
                (false, None) => "-".to_owned(),
            },
        ]
    }));
    aligned(&lines)
}

/// Routes that are as they should be are counted; the others are named.
fn routes(routes: &[RouteOverview]) -> String {
    let present = routes.iter().filter(|route| route.state == RouteState::Present).count();
    let wanted = routes.iter().filter(|route| route.state != RouteState::Surplus).count();
    let mut lines = vec![["ROUTE", "THROUGH", "STATE"].map(str::to_owned)];
    let name = |state| match state {
        RouteState::Present => "present",
        RouteState::Missing => "missing",
        RouteState::Surplus => "nobody wants it, goes soon",
    };
    lines.extend(routes.iter().filter(|route| route.state != RouteState::Present).map(|route| {
        let gateway = route.gateway.clone().unwrap_or_else(|| "-".to_owned());
        [route.destination.clone(), gateway, name(route.state).to_owned()]
    }));
    let count = format!("routes: {present} of {wanted} present\n");
    if lines.len() > 1 { count + &aligned(&lines) } else { count }
}

fn problems(overview: &Overview) -> String {
    overview.problems.iter().fold(String::new(), |text, problem| text + "! " + problem + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlay::{NodeOverview, StoreOverview};

    fn lease(subnet: &str) -> LeaseOverview {
        LeaseOverview { subnets: vec![subnet.to_owned()], ..LeaseOverview::default() }
    }

    #[test]
    fn a_lease_has_an_age_and_an_end_as_far_as_they_are_known() {
        let own = LeaseOverview { own: true, expires_in_seconds: Some(7200), ..lease("10.1.1.0/24") };
        let old =
            LeaseOverview { reserved: true, age_is_least: true, age_seconds: 60, ..lease("10.1.2.0/24") };
        let text = leases(&[own, old]);
        assert!(text.contains("10.1.1.0/24  - (this node)                    0 s      2 h\n"), "{text}");
        assert!(text.contains("> 1 min  never"), "{text}");
    }

    #[test]
    fn routes_that_are_right_are_counted_and_the_others_named() {
        let route = |to: &str, state| {
            let gateway = Some("192.0.2.1".to_owned());
            RouteOverview { destination: to.to_owned(), gateway, state }
        };
        let text =
            routes(&[route("10.1.2.0/24", RouteState::Present), route("10.1.3.0/24", RouteState::Missing)]);
        assert!(text.contains("routes: 1 of 2 present") && !text.contains("10.1.2.0/24"), "{text}");
        assert!(text.contains("10.1.3.0/24  192.0.2.1  missing"), "{text}");
    }

    #[test]
    fn the_store_and_the_choice_of_the_uplink_are_explained() {
        let overview = Overview {
            ready: true,
            node: NodeOverview { uplink: "eth0".into(), why: "by name".into(), ..NodeOverview::default() },
            store: StoreOverview {
                stale_seconds: 120,
                why: Some("refused".into()),
                ..StoreOverview::default()
            },
            problems: vec!["two leases have one address; give each its own".into()],
            ..Overview::default()
        };
        let text = describe(&overview);
        for part in ["out of reach for 2 min: refused", "! two leases", "eth0, MTU 0: by name"] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }
}
