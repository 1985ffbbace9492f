//! Masquerade by the `iptables` program, in the reference's own chain layout, for nodes where other tools read those chains.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use cni::{Attachment, Cidr};
use kernel::nft::{self, Nft, Table};

use crate::error::Error;
use crate::identity::{reference_chain, reference_comment, reference_comment_start};
use crate::program::feed;
use crate::step::Family;

/// Programs and constants of one address family.
struct Dialect {
    program: &'static str,
    restore: &'static str,
    legacy: &'static str,
    /// Lists the tables that the legacy kernel module holds, in this namespace.
    legacy_tables: &'static str,
    multicast: &'static str,
    /// The table that the programs of `iptables-nft` keep in nftables.
    nat: Table<'static>,
}

fn dialect(family: Family) -> Dialect {
    match family {
        Family::V4 => Dialect {
            program: "iptables",
            restore: "iptables-restore",
            legacy: "iptables-legacy",
            legacy_tables: "/proc/net/ip_tables_names",
            multicast: "224.0.0.0/4",
            nat: Table::new(nft::Family::Ip, "nat"),
        },
        Family::V6 => Dialect {
            program: "ip6tables",
            restore: "ip6tables-restore",
            legacy: "ip6tables-legacy",
            legacy_tables: "/proc/net/ip6_tables_names",
            multicast: "ff00::/8",
            nat: Table::new(nft::Family::Ip6, "nat"),
        },
    }
}

/// Makes the reference's chain and its jumps: one `iptables-restore` for each family.
pub(super) fn add(nft: &mut Nft, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    for family in [Family::V4, Family::V6] {
        let own: Vec<Cidr> =
            addresses.iter().copied().filter(|address| Family::of(address.ip()) == family).collect();
        if own.is_empty() {
            continue;
        }
        let dialect = dialect(family);
        // Without the chain nothing leads to it; that is known without a program, unless the tables are legacy ones.
        let fresh =
            !has_legacy(&dialect) && !nft.chain_exists(dialect.nat.chain(&reference_chain(attachment)))?;
        let mut missing = Vec::new();
        for address in &own {
            if fresh || !jumps(&dialect, attachment, *address)? {
                missing.push(*address);
            }
        }
        let rules = rules(attachment, &own, &missing);
        restore(&dialect, &format!("*nat\n{rules}COMMIT\n"))?;
    }
    Ok(())
}

/// Whether the jump of every address is there.
pub(super) fn holds(attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    for address in addresses {
        if !jumps(&dialect(Family::of(address.ip())), attachment, *address)? {
            return Err(Error::Mismatch {
                what: "masquerade (iptables, table nat, chain POSTROUTING)".into(),
                expected: format!("a jump from {} to {}", address.ip(), reference_chain(attachment)),
                found: "none".into(),
            });
        }
    }
    Ok(())
}

/// The lines for table `nat`: the chain anew for these addresses of one family, and a jump for each of `jumps`.
pub(super) fn rules(attachment: &Attachment, addresses: &[Cidr], jumps: &[Cidr]) -> String {
    let chain = reference_chain(attachment);
    let note = format!("-m comment --comment {}", quoted(&reference_comment(attachment)));
    let mut text = format!(":{chain} - [0:0]\n");
    let networks: BTreeSet<Cidr> = addresses.iter().map(|address| address.network()).collect();
    // Writing to a String cannot fail.
    for network in &networks {
        writeln!(text, "-A {chain} -d {network} {note} -j ACCEPT").ok();
    }
    if let Some(network) = networks.first() {
        let multicast = dialect(Family::of(network.ip())).multicast;
        writeln!(text, "-A {chain} ! -d {multicast} {note} -j MASQUERADE").ok();
    }
    for address in jumps {
        writeln!(text, "-A POSTROUTING -s {} {note} -j {chain}", address.ip()).ok();
    }
    text
}

/// Quoted as `iptables-save` does.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn jumps(dialect: &Dialect, attachment: &Attachment, address: Cidr) -> Result<bool, Error> {
    let (source, comment) = (address.ip().to_string(), reference_comment(attachment));
    let chain = reference_chain(attachment);
    let arguments = [
        "--wait",
        "-t",
        "nat",
        "-C",
        "POSTROUTING",
        "-s",
        &source,
        "-m",
        "comment",
        "--comment",
        &comment,
        "-j",
        &chain,
    ];
    Ok(run(dialect.program, &arguments, "")?.is_ok())
}

fn restore(dialect: &Dialect, ruleset: &str) -> Result<(), Error> {
    let arguments = ["--noflush", "--wait"];
    run(dialect.restore, &arguments, ruleset)?
        .map_err(|reason| Error::Program { program: dialect.restore.into(), reason })
}

/// Whether the legacy tables hold the attachment's chain.
pub(super) fn legacy_holds(attachment: &Attachment) -> Result<bool, Error> {
    let chain = reference_chain(attachment);
    for family in [Family::V4, Family::V6] {
        if Legacy::of(family)?.is_some_and(|legacy| legacy.jumps.iter().any(|jump| jump.target == chain)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the chain and its jumps from the legacy tables, where there are any; starts no program otherwise.
pub(super) fn remove_legacy(attachment: &Attachment) -> Result<(), Error> {
    let chain = reference_chain(attachment);
    remove_legacy_chains(|jump| jump.target == chain)
}

/// Removes the legacy chains of a network's attachments that are not in `valid`: their jumps' comments tell.
pub(super) fn collect_legacy(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let kept: Vec<String> = valid.iter().map(reference_chain).collect();
    let ours = quoted(&reference_comment_start(network));
    let ours = ours.trim_end_matches('"');
    remove_legacy_chains(|jump| jump.specification.contains(ours) && !kept.contains(&jump.target))
}

/// Whether the legacy kernel module holds the table in this namespace.
fn has_legacy(dialect: &Dialect) -> bool {
    let tables = fs::read_to_string(dialect.legacy_tables).unwrap_or_default(); // absent: no such tables
    tables.lines().any(|table| table == "nat")
}

fn remove_legacy_chains(which: impl Fn(&Jump) -> bool) -> Result<(), Error> {
    for family in [Family::V4, Family::V6] {
        if let Some(legacy) = Legacy::of(family)? {
            legacy.remove(legacy.jumps.iter().filter(|jump| which(jump)))?;
        }
    }
    Ok(())
}

/// The `nat` table of the legacy kernel module, as far as the reference's chains go.
struct Legacy {
    program: &'static str,
    jumps: Vec<Jump>,
}

/// A rule of POSTROUTING that leads to one of the reference's chains.
struct Jump {
    specification: String,
    target: String,
}

impl Legacy {
    /// Reads it with whichever program can. Nothing where the kernel has no such table, or where no program that
    /// could have made rules there is installed.
    fn of(family: Family) -> Result<Option<Self>, Error> {
        let dialect = dialect(family);
        if !has_legacy(&dialect) {
            return Ok(None);
        }
        let Some(program) = [dialect.legacy, dialect.program].into_iter().find(|name| is_legacy(name)) else {
            return Ok(None);
        };
        let listing = output(program, &["--wait", "-t", "nat", "-S", "POSTROUTING"])?;
        let jump = |line: &str| {
            let (_, target) = line.rsplit_once(" -j ")?;
            let specification = line.strip_prefix("-A ")?.to_owned();
            target.starts_with("CNI-").then(|| Jump { specification, target: target.to_owned() })
        };
        Ok(Some(Self { program, jumps: listing.lines().filter_map(jump).collect() }))
    }

    fn remove<'a>(&self, jumps: impl Iterator<Item = &'a Jump>) -> Result<(), Error> {
        let jumps: Vec<&Jump> = jumps.collect();
        if jumps.is_empty() {
            return Ok(());
        }
        let chains: BTreeSet<&str> = jumps.iter().map(|jump| jump.target.as_str()).collect();
        let mut script = String::from("*nat\n");
        for jump in &jumps {
            writeln!(script, "-D {}", jump.specification).ok(); // a String
        }
        for chain in chains {
            writeln!(script, "-F {chain}\n-X {chain}").ok();
        }
        script.push_str("COMMIT\n");
        let program =
            self.program.replace("tables", "tables-restore").replace("-restore-legacy", "-legacy-restore");
        run(&program, &["--noflush", "--wait"], &script)?.map_err(|reason| Error::Program { program, reason })
    }
}

/// Whether the program is there and works on the legacy tables: its version says `(nf_tables)` otherwise.
fn is_legacy(program: &str) -> bool {
    output(program, &["--version"])
        .is_ok_and(|version| version.contains("tables") && !version.contains("nf_tables"))
}

/// Runs a program: the outer error is that it cannot run, the inner one what it said.
fn run(program: &str, arguments: &[&str], input: &str) -> Result<Result<(), String>, Error> {
    let failed = |error: std::io::Error| Error::Program {
        program: program.to_owned(),
        reason: format!("cannot be run: {error}; install it, or set ipMasqBackend to \"nftables\""),
    };
    let output = feed(program, arguments, input).map_err(failed)?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn output(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| Error::Program { program: program.into(), reason: error.to_string() })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_the_references_to_the_letter() {
        let attachment =
            Attachment { network: "bmnet".into(), container_id: "abc123".into(), ifname: "eth0".into() };
        let addresses = ["10.99.0.2/16".parse().unwrap()];
        let text = rules(&attachment, &addresses, &addresses);
        let note = r#"-m comment --comment "name: \"bmnet\" id: \"abc123\"""#;
        assert_eq!(
            text,
            format!(
                ":CNI-fbb60b45a5a6709de0c01fd5 - [0:0]\n\
                 -A CNI-fbb60b45a5a6709de0c01fd5 -d 10.99.0.0/16 {note} -j ACCEPT\n\
                 -A CNI-fbb60b45a5a6709de0c01fd5 ! -d 224.0.0.0/4 {note} -j MASQUERADE\n\
                 -A POSTROUTING -s 10.99.0.2 {note} -j CNI-fbb60b45a5a6709de0c01fd5\n"
            )
        );
    }
}
