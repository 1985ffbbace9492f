//! Conditions in iptables' words that nftables says exactly: a network that has no others is served without a program.

use ipnetwork::IpNetwork;
use kernel::Family;

use crate::condition::{Bits, Condition, Sense, Test, addresses, number};

/// Reads the words of one family. `None` if there is one that is left to iptables: then all of them are.
#[must_use]
pub fn translate(family: Family, words: &[String]) -> Option<Vec<Condition>> {
    let mut conditions = Vec::new();
    let mut modules: Vec<&str> = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(first) = words.next() {
        let (sense, option) = match first {
            "!" => (Sense::IsNot, words.next()?),
            option => (Sense::Is, option),
        };
        let value = words.next()?;
        match (option, sense) {
            ("-m" | "--match", Sense::Is) => {
                modules.push(["comment", "iprange", "mark"].into_iter().find(|m| *m == value)?);
            }
            ("--comment", Sense::Is) if modules.contains(&"comment") => {}
            _ => conditions.push(Condition { test: test(family, (option, value, sense), &modules)?, sense }),
        }
    }
    Some(conditions)
}

fn test(family: Family, (option, value, sense): (&str, &str, Sense), modules: &[&str]) -> Option<Test> {
    match option {
        "-s" | "--source" | "--src" => Some(Test::Source(list(family, value, sense)?)),
        "-d" | "--destination" | "--dst" => Some(Test::Destination(list(family, value, sense)?)),
        "-i" | "--in-interface" => Some(Test::InputInterface(vec![interface(value)?])),
        "--mark" if modules.contains(&"mark") => mark(value).map(Test::PacketMark),
        "--src-range" if modules.contains(&"iprange") => Some(Test::Source(range(family, value)?)),
        "--dst-range" if modules.contains(&"iprange") => Some(Test::Destination(range(family, value)?)),
        _ => None,
    }
}

/// Addresses and networks, separated by commas; iptables makes a rule of each, and refuses to negate more than one.
fn list(family: Family, text: &str, sense: Sense) -> Option<Vec<IpNetwork>> {
    if text.contains('-') || (sense == Sense::IsNot && text.contains(',')) {
        return None;
    }
    Some(text.split(',').map(|one| addresses(family, one)).collect::<Option<Vec<_>>>()?.concat())
}

fn range(family: Family, text: &str) -> Option<Vec<IpNetwork>> {
    addresses(family, text).filter(|_| !text.contains('/'))
}

/// A name; a `+` at the end stands for any rest, and a `*` for itself.
fn interface(text: &str) -> Option<String> {
    let (name, rest) = text.strip_suffix('+').map_or((text, ""), |name| (name, "*"));
    let plain =
        (1..=15).contains(&text.len()) && !name.is_empty() && !name.contains(['+', '*', '!', '/', ' ']);
    plain.then(|| format!("{name}{rest}"))
}

/// `VALUE[/MASK]`.
fn mark(text: &str) -> Option<Bits> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let mask = mask.map_or(Some(u32::MAX), number)?;
    Some(Bits { mask, value: number(value)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<Vec<Condition>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        translate(Family::V4, &words)
    }

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_users_write_is_said_exactly() {
        // The reference's own example, and what MetalK8s and plugins#1117 have.
        let readme = read(&["!", "-d", "192.0.2.0/24"]).unwrap();
        let wanted = Condition { test: Test::Destination(networks(&["192.0.2.0/24"])), sense: Sense::IsNot };
        assert_eq!(readme, [wanted]);
        let list = read(&["-d", "10.0.0.1/32,10.0.0.2/32"]).unwrap();
        assert_eq!(list[0].test, Test::Destination(networks(&["10.0.0.1/32", "10.0.0.2/32"])));
        let range = ["!", "-d", "127.0.0.0/8", "-m", "iprange", "!", "--dst-range", "198.19.254.254"];
        // iptables takes a single address for a range; and so do we.
        assert_eq!(read(&range).unwrap()[1].test, Test::Destination(networks(&["198.19.254.254/32"])));
        let rest = read(&[
            "-i",
            "eth+",
            "-m",
            "mark",
            "!",
            "--mark",
            "0x1/0xf",
            "-m",
            "comment",
            "--comment",
            "a b",
        ]);
        let rest = rest.unwrap();
        assert_eq!(rest[0].test, Test::InputInterface(vec!["eth*".into()]));
        assert_eq!(
            (&rest[1].test, rest[1].sense),
            (&Test::PacketMark(Bits { mask: 15, value: 1 }), Sense::IsNot)
        );
        assert_eq!(rest.len(), 2);
    }

    #[test]
    fn what_is_not_said_exactly_is_left_to_iptables() {
        for words in [
            &["-m", "set", "--match-set", "whitelist", "src"][..],
            &["-m", "addrtype", "--dst-type", "LOCAL"],
            &["-m", "conntrack", "--ctstate", "NEW"],
            &["-p", "tcp"],
            &["!", "-d", "10.0.0.1,10.0.0.2"],
            &["-d", "example.org"],
            &["-d", "10.0.0.0/255.0.0.0"],
            &["-s", "10.0.0.1-10.0.0.2"],
            &["--mark", "1"],
            &["-i", "+"],
            &["-i", "a*"],
            &["-d"],
            &["!", "-m", "mark"],
        ] {
            assert_eq!(read(words), None, "{words:?}");
        }
    }
}
