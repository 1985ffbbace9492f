//! The text that `iptables-restore --noflush` gets: the reference's rules to the letter (`portmap_iptables.go`), in its order.

use std::fmt::Write as _;

use kernel::Family;

use crate::conf::{Backend, Conf, Marking, Masquerade};
use crate::foreign::{DNAT, container_chain};
use crate::iptables::MASQUERADE;
use crate::mapping::Protocol;
use crate::plan::{Plan, Publication};

/// The chain that marks what shall be masqueraded.
pub const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
/// Ports in one `multiport` match (`XT_MULTI_PORTS`).
const PORTS: usize = 15;
/// Bytes in a comment (`XT_MAX_COMMENT_LEN`, with its zero), and the reference's way to cut it.
const COMMENT: usize = 255;

/// What of the layout is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is whether one rule or chain of the layout is there")]
pub struct Present {
    /// The chain that leads to the containers'.
    pub dnat: bool,
    /// The container's own chain.
    pub own: bool,
    /// `PREROUTING` leads to it.
    pub prerouting: bool,
    /// `OUTPUT` leads to it.
    pub output: bool,
    /// `POSTROUTING` leads to the masquerade.
    pub postrouting: bool,
    /// The chains that mark and that masquerade have their rules, for the bit that is asked for.
    pub marks: bool,
    /// Rules that lead to the container's chain, as `iptables-save` has them, without `-A`.
    pub entries: Vec<String>,
}

impl Present {
    /// Reads what `iptables-save -t nat` printed; `mark` is the bit that packets to be masqueraded have.
    #[must_use]
    pub fn read(saved: &str, own: &str, mark: Option<u32>) -> Self {
        let has_chain = |name: &str| saved.lines().any(|line| line.starts_with(&format!(":{name} ")));
        let entries = |to: &str| -> Vec<String> {
            let jump = format!(" -j {to}");
            let rules = saved.lines().filter(|line| line.ends_with(&jump));
            rules.filter_map(|line| line.strip_prefix("-A ")).map(str::to_owned).collect()
        };
        let is_only = |chain: &str, rule: &str| {
            let mut rules = saved.lines().filter_map(|line| line.strip_prefix("-A "));
            let mut own = rules.by_ref().filter(|line| line.starts_with(&format!("{chain} ")));
            own.next() == Some(rule) && own.next().is_none()
        };
        let leads =
            |from: &str, to: &str| entries(to).iter().any(|rule| rule.starts_with(&format!("{from} ")));
        Self {
            dnat: has_chain(DNAT),
            own: has_chain(own),
            prerouting: leads("PREROUTING", DNAT),
            output: leads("OUTPUT", DNAT),
            postrouting: leads("POSTROUTING", MASQUERADE),
            marks: mark.is_some_and(|mark| {
                is_only(SETMARK, &set_mark(mark)) && is_only(MASQUERADE, &masquerade(mark))
            }),
            entries: entries(own),
        }
    }

    /// The text that removes the container's chain and what leads there.
    #[must_use]
    pub fn removal(&self, own: &str) -> String {
        let mut text = String::from("*nat\n");
        for entry in &self.entries {
            line(&mut text, format_args!("-D {entry}"));
        }
        line(&mut text, format_args!("-F {own}\n-X {own}\nCOMMIT"));
        text
    }
}

/// The text that makes everything of the plan in one family.
#[must_use]
pub fn ruleset(conf: &Conf, plan: &Plan, family: Family, present: &Present) -> String {
    let own = container_chain(&plan.attachment);
    let mut text = String::from("*nat\n");
    if let Some(mark) = conf.iptables_mark() {
        marks(&mut text, mark, present);
    }
    hooks(&mut text, present);
    // A user's chain that is declared is emptied first.
    line(&mut text, format_args!(":{own} - [0:0]"));
    translations(&mut text, conf, plan, family);
    for entry in present.entries.iter().filter(|entry| !entry.is_empty()) {
        line(&mut text, format_args!("-D {entry}"));
    }
    entries(&mut text, conf, plan, family);
    text.push_str("COMMIT\n");
    text
}

/// The chain that leads to the containers', and what leads there, as far as it is not there.
fn hooks(text: &mut String, present: &Present) {
    if !present.dnat {
        line(text, format_args!(":{DNAT} - [0:0]"));
    }
    for (chain, there) in [("PREROUTING", present.prerouting), ("OUTPUT", present.output)] {
        if !there {
            line(text, format_args!("-A {chain} -m addrtype --dst-type LOCAL -j {DNAT}"));
        }
    }
}

/// The rules of all ports of one family in the container's chain.
fn translations(text: &mut String, conf: &Conf, plan: &Plan, family: Family) {
    for publication in plan.publications.iter().filter(|publication| publication.key.family == family) {
        translation(text, conf, plan, publication);
    }
}

/// The lines of table `nat` that make everything of many plans in one family, over what `iptables-save -t nat` printed.
/// Plans of one container share a chain; that weakness is part of the layout.
#[must_use]
pub fn rules(all: &[(&Conf, &Plan)], family: Family, saved: &str) -> String {
    let mut text = String::new();
    let mut done: Vec<String> = Vec::new();
    let mut marked = false;
    for (conf, plan) in all.iter().filter(|(_, plan)| plan.address(family).is_some()) {
        let own = container_chain(&plan.attachment);
        let present = Present::read(saved, &own, conf.iptables_mark());
        if done.is_empty() {
            hooks(&mut text, &present);
        }
        // One bit serves all: every container's chain jumps to the one chain that sets it.
        if let (Some(mark), false) = (conf.iptables_mark(), marked) {
            marks(&mut text, mark, &present);
            marked = true;
        }
        if !done.contains(&own) {
            line(&mut text, format_args!(":{own} - [0:0]"));
            for entry in &present.entries {
                line(&mut text, format_args!("-D {entry}"));
            }
            done.push(own);
        }
        translations(&mut text, conf, plan, family);
        entries(&mut text, conf, plan, family);
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{content}").ok();
}

fn marks(text: &mut String, mark: u32, present: &Present) {
    // Declared again they would be emptied, and the program would wait until the kernel has freed what they held.
    if !present.marks {
        line(text, format_args!(":{SETMARK} - [0:0]\n:{MASQUERADE} - [0:0]"));
        line(text, format_args!("-A {}\n-A {}", set_mark(mark), masquerade(mark)));
    }
    if !present.postrouting {
        line(
            text,
            format_args!(
                "-I POSTROUTING 1 -m comment --comment \"CNI portfwd requiring masquerade\" -j {MASQUERADE}"
            ),
        );
    }
}

/// The rule that marks, as `iptables-save` has it.
fn set_mark(mark: u32) -> String {
    let comment = "CNI portfwd masquerade mark";
    format!("{SETMARK} -m comment --comment \"{comment}\" -j MARK --set-xmark {mark:#x}/{mark:#x}")
}

/// The rule that masquerades.
fn masquerade(mark: u32) -> String {
    format!("{MASQUERADE} -m mark --mark {mark:#x}/{mark:#x} -j MASQUERADE")
}

/// The rules of one port in the container's chain.
fn translation(text: &mut String, conf: &Conf, plan: &Plan, publication: &Publication) {
    let own = container_chain(&plan.attachment);
    let key = publication.key;
    let mut matches = format!("-p {} --dport {}", key.protocol, key.port);
    if let Some(address) = key.address {
        // Writing to a String cannot fail.
        write!(matches, " -d {address}").ok();
    }
    for source in sources(conf, plan, key.family) {
        let chain = match &conf.backend {
            Backend::Iptables { marking: Marking::Chain(chain), .. } => chain.as_str(),
            Backend::Iptables { .. } | Backend::Nftables { .. } => SETMARK,
        };
        line(text, format_args!("-A {own} {matches} -s {source} -j {chain}"));
    }
    let target = publication.target;
    line(text, format_args!("-A {own} {matches} -j DNAT --to-destination {target}"));
}

fn sources(conf: &Conf, plan: &Plan, family: Family) -> Vec<String> {
    let network = plan.address(family).map(|address| address.to_string());
    match (conf.masquerade, family) {
        (Masquerade::Off, _) => Vec::new(),
        (Masquerade::All, Family::V4) => vec!["0.0.0.0/0".to_owned()],
        (Masquerade::All, Family::V6) => vec!["::/0".to_owned()],
        (Masquerade::Local, Family::V4) => network.into_iter().chain(["127.0.0.1".to_owned()]).collect(),
        (Masquerade::Local, Family::V6) => network.into_iter().collect(),
    }
}

/// The rules that lead to the container's chain: one for each protocol and each fifteen ports. Those of the other
/// family are among them, as in the reference; the container's chain has nothing for them.
fn entries(text: &mut String, conf: &Conf, plan: &Plan, family: Family) {
    let own = container_chain(&plan.attachment);
    let mut conditions = String::new();
    for condition in matches(conf, family) {
        conditions.push(' ');
        conditions.push_str(&quoted(condition));
    }
    let comment = quoted(&comment(plan));
    for protocol in Protocol::ALL {
        let mappings = conf.mappings.iter().filter(|mapping| mapping.protocol == protocol);
        let ports: Vec<String> = mappings.map(|mapping| mapping.host_port.to_string()).collect();
        for group in ports.chunks(PORTS) {
            let ports = group.join(",");
            line(
                text,
                format_args!(
                    "-A {DNAT} -m comment --comment {comment} -m multiport -p {protocol} --destination-ports {ports}{conditions} -j {own}"
                ),
            );
        }
    }
}

fn matches(conf: &Conf, family: Family) -> &[String] {
    match (&conf.backend, family) {
        (Backend::Iptables { conditions4, .. }, Family::V4) => conditions4,
        (Backend::Iptables { conditions6, .. }, Family::V6) => conditions6,
        (Backend::Nftables { .. }, _) => &[],
    }
}

fn comment(plan: &Plan) -> String {
    let text = format!("dnat name: \"{}\" id: \"{}\"", plan.attachment.network, plan.attachment.container_id);
    if text.len() <= COMMENT {
        return text;
    }
    let end = (0..=COMMENT - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default())
}

/// Quoted as `iptables-save` does, where that is needed; a line's end would begin another rule.
fn quoted(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if !text.is_empty() && !text.contains([' ', '"', '\\', '\'', '\t']) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
