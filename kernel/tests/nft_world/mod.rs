//! Nameless namespaces with an nftables socket each, and the eyes of the nft program in them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test programs, each of which uses a part"
)]

use kernel::{
    Netns,
    nft::{Base, Chain, ChainKind, ChainName, Hook, Nft, Policy, Table, Transaction, priority},
};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// A namespace with an empty ruleset.
pub struct World {
    pub ns: Netns,
    pub nft: Nft,
}

impl World {
    pub fn new() -> Self {
        let ns = Netns::new_nameless().unwrap();
        let nft = Nft::open_in(&ns).unwrap();
        Self { ns, nft }
    }

    /// Runs a program inside with that on its standard input, and gives its output.
    pub fn run(&self, command: &str, input: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        self.exec(&words, input)
    }

    /// As [`World::run`], with arguments that have spaces.
    pub fn exec(&self, words: &[&str], input: &str) -> String {
        let (program, arguments) = words.split_first().unwrap();
        let output = self.ns.run(|| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        let output = output.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Loads a ruleset as text.
    pub fn load(&self, text: &str) {
        self.run("nft -f -", text);
    }

    /// What `nft list ruleset` says.
    pub fn listing(&self) -> String {
        self.run("nft list ruleset", "")
    }

    /// Commits what `fill` puts into a transaction.
    pub fn commit(&mut self, fill: impl FnOnce(&mut Transaction)) {
        self.try_commit(fill).unwrap();
    }

    /// As [`World::commit`], where an error is expected.
    pub fn try_commit(&mut self, fill: impl FnOnce(&mut Transaction)) -> Result<(), kernel::Error> {
        let mut transaction = Transaction::new();
        fill(&mut transaction);
        transaction.commit(&mut self.nft)
    }
}

/// A base chain at the usual place of its hook.
pub fn base(chain: ChainName<'_>, kind: ChainKind, hook: Hook) -> Chain<'_> {
    let priority = match (kind, hook) {
        (ChainKind::Nat, Hook::Prerouting | Hook::Output) => priority::DSTNAT,
        (ChainKind::Nat, _) => priority::SRCNAT,
        (ChainKind::Route, _) => priority::MANGLE,
        (ChainKind::Filter, _) => priority::FILTER,
    };
    Chain::base(chain, Base { kind, hook, priority, policy: Policy::Accept })
}

/// A table with one chain of that name that nothing calls.
pub fn plain(transaction: &mut Transaction, table: Table<'_>, chain: &str) {
    transaction.add_table(table).add_chain(&Chain::regular(table.chain(chain)));
}
