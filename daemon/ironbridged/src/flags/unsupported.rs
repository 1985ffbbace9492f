//! Flags of flanneld that this version knows and does not serve: refused by name, with what to do instead.

use clap::{Arg, ArgAction, Command};

/// One flag of flanneld's: its name, whether it is boolean, and what to do.
struct Unserved(&'static str, Kind, &'static str);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Boolean,
    Value,
}

const KUBERNETES: &str = "this version has no Kubernetes subnet manager; keep the leases in etcd (--etcd-endpoints) or in a file (--store file:PATH)";

const UNSERVED: [Unserved; 6] = [
    Unserved("kube-subnet-mgr", Kind::Boolean, KUBERNETES),
    Unserved("kube-api-url", Kind::Value, KUBERNETES),
    Unserved("kubeconfig-file", Kind::Value, KUBERNETES),
    Unserved("kube-annotation-prefix", Kind::Value, KUBERNETES),
    Unserved("net-config-path", Kind::Value, KUBERNETES),
    Unserved("set-node-network-unavailable", Kind::Boolean, KUBERNETES),
];

/// Adds them to the command line, hidden from the help text.
pub fn declare(command: Command) -> Command {
    UNSERVED.iter().fold(command, |command, Unserved(name, kind, _)| {
        let flag = Arg::new(*name).long(*name).hide(true).action(ArgAction::Set);
        command.arg(match kind {
            Kind::Boolean => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
            Kind::Value => flag,
        })
    })
}

/// The refusal of the first one that was given. A boolean that is switched off asks for nothing and passes.
pub fn refusal(matches: &clap::ArgMatches) -> Option<String> {
    UNSERVED.iter().find_map(|Unserved(name, kind, remedy)| {
        let value = matches.get_one::<String>(name)?;
        let asks_nothing = match kind {
            Kind::Boolean => super::switch(value) == Ok(super::Switch::Off),
            Kind::Value => value.is_empty(),
        };
        (!asks_nothing).then(|| format!("flag --{name}={value} is not supported: {remedy}"))
    })
}
