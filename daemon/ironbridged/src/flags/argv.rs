//! Go's command line as clap's: one dash or two, and `FLANNELD_*` for what the command line does not say.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Command;

/// The arguments for clap, and which of them come from the environment.
pub struct Argv {
    /// Program name and `--flag` or `--flag=value` each in one word.
    pub words: Vec<OsString>,
    /// Variables that took part, to name them when clap refuses a value.
    pub variables: Vec<String>,
}

/// Rewrites the arguments after the program's name and adds the environment's.
pub fn rewrite(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
    environment: &[(String, String)],
) -> Argv {
    let mut words = Vec::new();
    let mut given = BTreeSet::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let Some((name, value)) = argument.to_str().and_then(split) else {
            words.push(argument);
            continue;
        };
        given.insert(name.clone());
        let takes_next = takes_next(command, &name);
        let value = value.map(OsString::from).or_else(|| takes_next.then(|| rest.next()).flatten());
        if takes_next && value.as_ref().is_some_and(|value| value.is_empty()) {
            // Units write `-public-ip=${ADDRESS}`: nothing said is the default.
            continue;
        }
        let mut word = OsString::from(format!("--{name}"));
        if let Some(value) = value {
            word.push("=");
            word.push(value);
        }
        words.push(word);
    }
    let (from_environment, variables) = overlay(command, &given, environment);
    let program = std::iter::once(OsString::from(command.get_name()));
    Argv { words: program.chain(from_environment).chain(words).collect(), variables }
}

/// `-name`, `--name`, `-name=value`; `None` for anything else, which clap shall refuse.
fn split(argument: &str) -> Option<(String, Option<String>)> {
    let body = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return None;
    }
    let name = if name == "h" { "help" } else { name };
    Some((name.to_owned(), value))
}

/// Go reads the next word as the value of any flag but a boolean one, even if that word begins with a dash.
fn takes_next(command: &Command, name: &str) -> bool {
    command
        .get_arguments()
        .find(|flag| flag.get_long() == Some(name))
        .is_some_and(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set())
}

fn overlay(
    command: &Command,
    given: &BTreeSet<String>,
    environment: &[(String, String)],
) -> (Vec<OsString>, Vec<String>) {
    command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|name| !given.contains(*name))
        .filter_map(|name| {
            let variable = format!("FLANNELD_{}", name.replace('-', "_").to_uppercase());
            // flannel takes an empty variable for one that is not set.
            let (_, value) = environment.iter().find(|(key, value)| *key == variable && !value.is_empty())?;
            Some((OsString::from(format!("--{name}={value}")), variable))
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::flags::Flags;

    fn words(line: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        let environment: Vec<_> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let argv = rewrite(&Flags::command(), line.iter().map(OsString::from), &environment);
        argv.words.into_iter().skip(1).map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn one_dash_two_dashes_and_a_value_in_the_next_word_are_the_same() {
        let want = ["--etcd-prefix=/x"];
        for line in [&["-etcd-prefix", "/x"][..], &["--etcd-prefix", "/x"], &["-etcd-prefix=/x"]] {
            assert_eq!(words(line, &[]), want, "{line:?}");
        }
        assert_eq!(words(&["-etcd-password", "-secret-"], &[]), ["--etcd-password=-secret-"]);
    }

    #[test]
    fn an_empty_value_is_none_but_an_unknown_flag_stays_one() {
        let line = ["-public-ip=", "-etcd-cafile", "", "-unknown="];
        assert_eq!(words(&line, &[("FLANNELD_PUBLIC_IP", "192.0.2.1")]), ["--unknown="]);
    }

    #[test]
    fn a_boolean_never_takes_the_next_word() {
        assert_eq!(words(&["-ip-masq", "--iface", "eth0"], &[]), ["--ip-masq", "--iface=eth0"]);
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_an_empty_variable_is_none() {
        let environment =
            [("FLANNELD_IFACE", "eth9"), ("FLANNELD_IP_MASQ", "true"), ("FLANNELD_PUBLIC_IP", "")];
        assert_eq!(words(&["-iface=eth0"], &environment), ["--ip-masq=true", "--iface=eth0"]);
    }
}
