//! firewall: its configuration, the text for iptables-restore, and what iptables-save prints.

use std::net::IpAddr;

use ::firewall::conf::{Conf, Policed, Policy, addresses, host_interfaces};
use ::firewall::ruleset::{FORWARD, Found, Place, Ruleset, parse};
use ::firewall::script::{Chains, additions, missing, removals};
use ::firewall::shape::Shape;

use crate::targets::chained::{accepted, reached};
use crate::verdict::{Broken, Verdict, hold, same};

/// A configuration: what it makes of the reference's chains has no line that is none of ours.
pub fn conf(data: &[u8]) -> Verdict {
    let (call, conf) = match accepted(data, Conf::of) {
        Ok(both) => both,
        Err(verdict) => return verdict,
    };
    let previous = call.prev_result.as_ref();
    let addresses = addresses(previous);
    let mut once = addresses.clone();
    once.dedup();
    same("addresses that are there once", &once, &addresses)?;
    let bridge = previous.and_then(|previous| host_interfaces(previous).next());
    let policed =
        Policed { bridge: bridge.unwrap_or("cni0").to_owned(), ports: Vec::new(), policy: conf.policy };
    let policed = (conf.policy != Policy::Open).then_some(&policed);
    let chains = Chains { addresses: &addresses, admin: &conf.admin_chain, policed };
    let text = additions(&chains, &Ruleset::default());
    lines(text.as_deref().unwrap_or_default(), bridge.unwrap_or_default())?;
    same("what is missing", &missing(&chains, &Ruleset::default()).is_some(), &text.is_some())?;
    Ok(reached(&(conf, bridge.is_some(), addresses.len())))
}

/// Every line is of a kind that we write. A bridge's name comes from the kernel, which takes no blank in it.
fn lines(text: &str, bridge: &str) -> Result<(), Broken> {
    let known = ["*filter", "COMMIT", "-N ", "-I FORWARD 1 ", "-I CNI-", "-A CNI-"];
    let strange = |line: &&str| !known.iter().any(|start| line.starts_with(start));
    match text.lines().find(strange) {
        Some(line) if !bridge.contains(char::is_whitespace) => {
            Err(Broken::new(format!("a line that nobody wrote: {line:?} in\n{text}")))
        }
        _ => Ok(()),
    }
}

/// What `iptables-save` printed: every rule is read from a line that is there, and is deleted by its own words.
pub fn saved(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let ruleset = parse(&text);
    for found in &ruleset.rules {
        let Place::Specification(words) = &found.place else {
            return Err(Broken::new(format!("a text has no handles: {found:?}")));
        };
        hold(text.contains(words.as_str()), || format!("words that are not there: {words:?}"))?;
    }
    let accepted: Vec<IpAddr> = ruleset.accepted().collect();
    let doomed: Vec<_> = ruleset.of_addresses(&accepted).collect();
    hold(doomed.len() >= accepted.len(), || format!("{accepted:?} without their rules: {doomed:?}"))?;
    let removal = removals(doomed.iter().copied());
    let deletions =
        removal.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("-D ")).count();
    same("one deletion a rule", &deletions, &doomed.len())?;
    let isolated = ruleset.of_bridge("cni0").count();
    let jumps = ruleset.jumps(FORWARD, "CNI-FORWARD");
    Ok(reached(&(accepted.is_empty(), isolated == 0, jumps, shapes(&ruleset))))
}

/// Which parts the first rules have: what is in them is the input's.
fn shapes(ruleset: &Ruleset) -> Vec<[bool; 8]> {
    let parts = |found: &Found| {
        let Shape { input, output, source, destination, states, comment, target, strange } = &found.shape;
        [
            input.is_some(),
            output.is_some(),
            source.is_some(),
            destination.is_some(),
            *states > 0,
            comment.is_some(),
            target.is_some(),
            *strange > 0,
        ]
    };
    let mut shapes: Vec<[bool; 8]> = ruleset.rules.iter().map(parts).collect();
    shapes.sort_unstable();
    shapes.dedup();
    shapes.truncate(2);
    shapes
}
