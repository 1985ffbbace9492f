//! A rule of an iptables table, as far as the reference's rules have parts: read from the kernel or from `iptables-save`.

use std::net::IpAddr;

use kernel::nft::{CtKey, Expression, Header, MetaKey, Relation, RuleState, Value, Verdict};

/// What a rule matches and does. `strange` counts parts that none of the reference's rules has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// `-i`
    pub input: Option<Name>,
    /// `-o`
    pub output: Option<Name>,
    /// `-s` with one address
    pub source: Option<IpAddr>,
    /// `-d` with one address
    pub destination: Option<IpAddr>,
    /// `-m conntrack` matches
    pub states: usize,
    /// `-m comment`
    pub comment: Option<String>,
    /// `-j`
    pub target: Option<String>,
    /// Parts that are none of these.
    pub strange: usize,
}

/// An interface, or every other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// This one.
    Is(String),
    /// `!`
    IsNot(String),
}

impl Shape {
    /// The shape of a rule of `iptables-nft`.
    #[must_use]
    pub fn of_rule(rule: &RuleState) -> Self {
        let mut shape = Self { comment: rule.comment.clone(), ..Self::default() };
        let mut loaded = Loaded::Nothing;
        for expression in &rule.expressions {
            loaded = shape.take(expression, loaded);
        }
        shape
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the reference's rules do not have is strange")]
    fn take(&mut self, expression: &Expression, loaded: Loaded) -> Loaded {
        match expression {
            Expression::Counter { .. } => return loaded,
            Expression::Meta { key, .. } => return Loaded::Meta(*key),
            Expression::Ct { key: CtKey::STATE, .. } => {
                self.states += 1;
                return Loaded::State;
            }
            Expression::Payload { header: Header::Network, offset, length, .. } => {
                return Loaded::Address { offset: *offset, length: *length };
            }
            Expression::Bitwise { .. } | Expression::Compare { .. } if loaded == Loaded::State => {
                return loaded;
            }
            Expression::Compare { relation, value, .. } => self.compare(loaded, *relation, value),
            Expression::Verdict(verdict) => self.target = target(verdict),
            Expression::Other { name, attributes } if name == "match" => self.extension(attributes),
            _ => self.strange += 1,
        }
        Loaded::Nothing
    }

    fn compare(&mut self, loaded: Loaded, relation: Relation, value: &Value) {
        let name = || {
            let text = value.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default();
            let text = String::from_utf8_lossy(text).into_owned();
            match relation {
                Relation::Equal => Some(Name::Is(text)),
                Relation::NotEqual => Some(Name::IsNot(text)),
                Relation::Less | Relation::AtMost | Relation::Greater | Relation::AtLeast => None,
            }
        };
        match (loaded, relation) {
            (Loaded::Meta(MetaKey::IIFNAME), _) => self.input = name(),
            (Loaded::Meta(MetaKey::OIFNAME), _) => self.output = name(),
            (Loaded::Address { offset: 12, length: 4 }, Relation::Equal) => {
                self.source = value.ipv4_at(0).map(IpAddr::V4);
            }
            (Loaded::Address { offset: 16, length: 4 }, Relation::Equal) => {
                self.destination = value.ipv4_at(0).map(IpAddr::V4);
            }
            (Loaded::Address { offset: 8, length: 16 }, Relation::Equal) => {
                self.source = value.ipv6_at(0).map(IpAddr::V6);
            }
            (Loaded::Address { offset: 24, length: 16 }, Relation::Equal) => {
                self.destination = value.ipv6_at(0).map(IpAddr::V6);
            }
            _ => self.strange += 1,
        }
    }

    /// A match of `xtables`: its first attribute (`NFTA_MATCH_NAME`) is its name with a zero.
    fn extension(&mut self, attributes: &[u8]) {
        let has = |name: &[u8]| attributes.windows(name.len()).any(|part| part == name);
        if has(b"conntrack\0") {
            self.states += 1;
        } else if !has(b"comment\0") {
            self.strange += 1;
        }
    }

    /// The chain and the shape of a line of `iptables-save`; `None` for a line that is no rule.
    #[must_use]
    pub fn of_line(line: &str) -> Option<(String, Self)> {
        let words = words(line);
        let mut words = words.iter().map(String::as_str);
        (words.next()? == "-A").then_some(())?;
        let chain = words.next()?.to_owned();
        let (mut shape, mut sense) = (Self::default(), Sense::Plain);
        while let Some(word) = words.next() {
            if word == "!" {
                sense = Sense::Negated;
                continue;
            }
            let Some(value) = words.next() else { break };
            shape.take_option(word, value, sense);
            sense = Sense::Plain;
        }
        Some((chain, shape))
    }

    fn take_option(&mut self, option: &str, value: &str, sense: Sense) {
        let name = || match sense {
            Sense::Plain => Some(Name::Is(value.to_owned())),
            Sense::Negated => Some(Name::IsNot(value.to_owned())),
        };
        match option {
            "-i" => self.input = name(),
            "-o" => self.output = name(),
            "-s" if sense == Sense::Plain && host(value).is_some() => self.source = host(value),
            "-d" if sense == Sense::Plain && host(value).is_some() => self.destination = host(value),
            "-j" => self.target = Some(value.to_owned()),
            "--comment" => self.comment = Some(value.to_owned()),
            "--ctstate" => self.states += 1,
            "-m" if value == "comment" || value == "conntrack" => {}
            _ => self.strange += 1,
        }
    }

    /// Whether this is a rule that the reference makes for `address`: what comes from it, or answers to it.
    #[must_use]
    pub fn accepts(&self, address: IpAddr) -> Option<Side> {
        let plain = self.strange == 0 && self.comment.is_none() && self.target.as_deref() == Some("ACCEPT");
        let anywhere = self.input.is_none() && self.output.is_none();
        match (self.source, self.destination, self.states) {
            (Some(source), None, 0) if plain && anywhere && source == address => Some(Side::From),
            (None, Some(destination), 1) if plain && anywhere && destination == address => Some(Side::To),
            _ => None,
        }
    }

    /// Whether this is a rule for `bridge` in one of the isolation chains.
    #[must_use]
    pub fn isolates(&self, bridge: &str) -> bool {
        let is = |name: &Option<Name>| matches!(name, Some(Name::Is(name)) if name == bridge);
        self.strange == 0 && (is(&self.input) || (self.input.is_none() && is(&self.output)))
    }
}

/// Which of the two rules of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What comes from it.
    From,
    /// What belongs to a connection that is there.
    To,
}

/// Whether an option stands as it is, or behind a `!`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Plain,
    Negated,
}

/// What the last instruction put into the register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Nothing,
    Meta(MetaKey),
    State,
    Address { offset: u32, length: u32 },
}

fn target(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Accept => Some("ACCEPT".into()),
        Verdict::Drop => Some("DROP".into()),
        Verdict::Return => Some("RETURN".into()),
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain.clone()),
        Verdict::Continue | Verdict::Other(_) => None,
    }
}

fn host(text: &str) -> Option<IpAddr> {
    match text.split_once('/') {
        None => text.parse().ok(),
        Some((address, "32")) => address.parse().ok().filter(IpAddr::is_ipv4),
        Some((address, "128")) => address.parse().ok().filter(IpAddr::is_ipv6),
        Some(_) => None,
    }
}

/// The words of a line as `iptables-save` quotes them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut started) = (Vec::new(), String::new(), false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (quoted, started) = (!quoted, true),
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            letter => word.push(letter),
        }
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(line: &str) -> Shape {
        Shape::of_line(line).unwrap().1
    }

    #[test]
    fn the_references_rules_are_known_by_their_shape() {
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        assert_eq!(shape("-A CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT").accepts(address), Some(Side::From));
        let to = "-A CNI-FORWARD -d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        assert_eq!(shape(to).accepts(address), Some(Side::To));
    }

    #[test]
    fn anything_more_or_less_is_somebody_elses() {
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        for line in [
            "-A X -s 10.0.0.0/24 -j ACCEPT",
            "-A X -s 10.0.0.3/32 -j ACCEPT",
            "-A X ! -s 10.0.0.2/32 -j ACCEPT",
            "-A X -s 10.0.0.2/32 -j DROP",
            "-A X -s 10.0.0.2/32 -p tcp -j ACCEPT",
            "-A X -s 10.0.0.2/32 -i eth0 -j ACCEPT",
            "-A X -s 10.0.0.2/32 -m comment --comment mine -j ACCEPT",
            "-A X -d 10.0.0.2/32 -j ACCEPT",
        ] {
            assert_eq!(shape(line).accepts(address), None, "{line}");
        }
    }

    #[test]
    fn quotes_and_negations_are_read() {
        let line = r#"-A S1 -i cni0 ! -o cni0 -m comment --comment "a \"b\" (c: d)" -j S2"#;
        let shape = shape(line);
        assert_eq!(shape.output, Some(Name::IsNot("cni0".into())));
        assert_eq!(shape.comment.as_deref(), Some("a \"b\" (c: d)"));
        assert!(shape.isolates("cni0") && !shape.isolates("cni1"));
        assert_eq!(Shape::of_line("*filter"), None);
    }
}
