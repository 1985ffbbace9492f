//! The chain on a node that has 200 and 1,000 attachments with two published ports each.

use std::fmt::Write as _;
use std::fs;

use netns_fixtures::{Pod, Space};

use super::attach::sides;
use super::chain::contender;
use super::reservations::fill;
use crate::contender::Contender;
use crate::error::Error;
use crate::figure::Figure;
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::site::Site;

const ROUNDS: usize = 60;
/// Numbers of attachments that are there before: far from those of the contest, and so are their ports.
const FIRST: usize = 5_000;

/// Attachments before, in which rounds the reference takes part.
const LEVELS: [(u32, usize); 2] = [(200, 4), (1_000, 10)];

/// ADD of the chain at each level.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    for (count, every) in LEVELS {
        let row = format!("published-{count}");
        let make = |side| contender(programs, side, &row);
        let site = Site::new();
        let _pods = attachments(&site, &make(Side::Ours), count)?;
        reference_rules(programs, &site, &make(Side::Reference), count)?;
        floor_rules(programs, &site, count)?;
        fill(&programs.state(Side::Reference, &row).join("pfnet"), count)?;
        let sides = sides(&site, effort.rounds(ROUNDS), |side| {
            make(side).every(if side == Side::Reference { every } else { 1 })
        })?;
        let work = format!("the same chain at {count} attachments with two ports each, ADD");
        figures.push(sides.figure(&work, |cycles| &cycles.add, (0.01, 1.7)));
    }
    Ok(figures)
}

/// Ours are real ones: links, addresses and rules of that many pods, which all sides then find on the bridge.
fn attachments(site: &Site, ours: &Contender, count: u32) -> Result<Vec<Pod>, Error> {
    let pods = Site::pods(count as usize);
    site.node().inside(|| {
        for (number, pod) in (FIRST..).zip(&pods) {
            ours.add(number, &pod.path())?;
        }
        Ok::<_, Error>(())
    })?;
    Ok(pods)
}

/// The reference's are its rules alone, in the shape that it gives them, after one attachment of its own has made the
/// chains that they share: it would take it half an hour to make them itself.
fn reference_rules(programs: &Programs, site: &Site, reference: &Contender, count: u32) -> Result<(), Error> {
    let pod = Pod::new();
    site.node().inside(|| reference.cycle(0, &pod.path()))?;
    let mut text = String::from("*nat\n");
    for number in 0..count {
        writeln!(text, ":{} - [0:0]\n:{} - [0:0]", masquerade_chain(number), port_chain(number)).ok();
    }
    (0..count).for_each(|number| attachment_rules(&mut text, number));
    text.push_str("COMMIT\n");
    apply(programs, site, "iptables-restore --noflush", &text)
}

fn masquerade_chain(number: u32) -> String {
    format!("CNI-{number:0>24x}")
}

fn port_chain(number: u32) -> String {
    format!("CNI-DN-{number:0>21x}")
}

/// What the reference makes for one attachment with a TCP and a UDP port.
fn attachment_rules(text: &mut String, number: u32) {
    let (ip, own, ports) = (address(number), masquerade_chain(number), port_chain(number));
    let note = format!("-m comment --comment \"name: \\\"pfnet\\\" id: \\\"{number:0>64}\\\"\"");
    let dnat = format!("-m comment --comment \"dnat name: \\\"pfnet\\\" id: \\\"{number:0>64}\\\"\"");
    // Writing to a String cannot fail.
    writeln!(text, "-A {own} -d {ip}/16 {note} -j ACCEPT\n-A {own} ! -d 224.0.0.0/4 {note} -j MASQUERADE")
        .ok();
    writeln!(text, "-A POSTROUTING -s {ip} {note} -j {own}").ok();
    for (protocol, host, inside) in [("tcp", port(number), 80), ("udp", port(number) + 1, 53)] {
        let matched = format!("-A {ports} -p {protocol} --dport {host}");
        writeln!(text, "{matched} -s {ip}/16 -j CNI-HOSTPORT-SETMARK").ok();
        writeln!(text, "{matched} -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK").ok();
        writeln!(text, "{matched} -j DNAT --to-destination {ip}:{inside}").ok();
        let group = format!("-m multiport -p {protocol} --destination-ports {host}");
        writeln!(text, "-A CNI-HOSTPORT-DNAT {dnat} {group} -j {ports}").ok();
    }
}

/// The floor's are elements of its set and its map.
fn floor_rules(programs: &Programs, site: &Site, count: u32) -> Result<(), Error> {
    let mut text = String::new();
    for number in 0..count {
        let (ip, port) = (address(number), port(number));
        // Writing to a String cannot fail.
        writeln!(text, "add element ip pf pfmasq {{ {ip} }}").ok();
        writeln!(
            text,
            "add element ip pf pfports {{ tcp . {port} : {ip} . 80, udp . {} : {ip} . 53 }}",
            port + 1
        )
        .ok();
    }
    apply(programs, site, "nft -f", &text)
}

fn address(number: u32) -> String {
    format!("10.77.{}.{}", 200 + number / 250, 1 + number % 250)
}

fn port(number: u32) -> u32 {
    40_000 + 2 * number
}

/// Gives a program of the node a text.
fn apply(programs: &Programs, site: &Site, program: &str, text: &str) -> Result<(), Error> {
    let file = programs.folder("rules")?.join("text");
    fs::write(&file, text).map_err(Error::file(&file))?;
    site.node().run(&format!("{program} {}", file.display()));
    Ok(())
}
