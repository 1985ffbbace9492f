//! The daemon's traffic rules, in nftables or in flannel's iptables chains: put in place whole, compared with the kernel,
//! put back when somebody removes them.

mod iptables;
mod leftover;
mod plan;
mod program;

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use kernel::nft::{self, Event, Family, Fate, Monitor, Nft, Table, Transaction};
use overlay::{Firewall, NetworkConfig, Subnets};

use crate::options::RuleChoice;
use crate::settle::Input;
use iptables::Iptables;
use plan::Chain;
use program::Program;

/// Our table; each network has its own chains in it.
const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridged");

/// How often an idle thread looks whether anybody still listens.
const IDLE: Duration = Duration::from_mins(1);

/// The rules that should be there.
pub struct Rules {
    nft: Nft,
    chains: Vec<Chain>,
    /// Chains of an earlier run, for another network, with other flags or in the other mode.
    retired: Vec<String>,
    /// The families of iptables mode; none in nftables mode.
    iptables: Vec<Iptables>,
    /// Whether what flanneld or the other mode left behind is gone.
    is_clean: bool,
}

/// Why the rules are not in place.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    #[error(
        "{program}: {why} (install iptables, or leave \"EnableNFTables\": false out of the network configuration)"
    )]
    Program { program: &'static str, why: String },
}

impl Rules {
    /// Plans the rules; `previous` are the networks of an earlier run. Nothing is changed before [`Rules::ensure`].
    pub fn new(
        choice: RuleChoice,
        config: &NetworkConfig,
        own: &Subnets,
        previous: &Subnets,
    ) -> Result<Self, kernel::Error> {
        let (chains, iptables) = match mode(config.firewall) {
            Firewall::Nftables => (plan::plan(choice, config, own), Vec::new()),
            Firewall::Iptables => (Vec::new(), iptables::plan(choice, config, own)),
        };
        let networks = Subnets { v4: config.v4.map(|f| f.network), v6: config.v6.map(|f| f.network) };
        let mut retired: Vec<String> =
            plan::names(&networks).into_iter().chain(plan::names(previous)).collect();
        retired.retain(|name| chains.iter().all(|chain| chain.name != *name));
        Ok(Rules { nft: Nft::open()?, chains, retired, iptables, is_clean: false })
    }

    /// How many rules there should be.
    pub fn count(&self) -> usize {
        let families = self.iptables.iter().map(Iptables::count);
        families.chain(self.chains.iter().map(|chain| chain.rules.len())).sum()
    }

    /// Compares and mends; the answer is how many rules had to be put in place. A chain is emptied and filled in one
    /// transaction: no packet meets a part of it.
    pub fn ensure(&mut self) -> Result<usize, RulesError> {
        let mut put_in_place = 0;
        for family in &mut self.iptables {
            put_in_place += family.ensure(&mut self.nft)?;
        }
        put_in_place += self.ensure_table()?;
        if !self.is_clean {
            // After ours are in place, so that no packet is without rules.
            leftover::remove_tables(&mut self.nft)?;
            if self.iptables.is_empty() {
                leftover::remove_chains(&mut self.nft)?;
            }
            self.is_clean = true;
        }
        Ok(put_in_place)
    }

    fn ensure_table(&mut self) -> Result<usize, kernel::Error> {
        let mut changes = Transaction::new();
        let mut put_in_place = 0;
        for chain in &self.chains {
            if !holds(&mut self.nft, chain)? {
                tracing::info!(chain = chain.name, rules = chain.rules.len(), "nftables rules put in place");
                put(&mut changes, chain);
                put_in_place += chain.rules.len();
            }
        }
        for name in &self.retired {
            if self.nft.chain_exists(TABLE.chain(name))? {
                tracing::info!(chain = name, "nftables rules of an earlier run removed");
                changes.destroy_chain(TABLE.chain(name));
            }
        }
        if !changes.is_empty() {
            changes.commit(&mut self.nft)?;
        }
        Ok(put_in_place)
    }

    /// Starts a thread that wakes the settling loop when somebody else changes our table.
    pub fn listen(&self, inputs: Sender<Input>) -> Result<(), kernel::Error> {
        let (ours, mut monitor) = (self.nft.port()?, Monitor::open()?);
        let tables = if self.iptables.is_empty() { &[] } else { IPTABLES.as_slice() };
        std::thread::spawn(move || {
            loop {
                let told = match monitor.next(Instant::now() + IDLE) {
                    Ok(Some(event)) if concerns(&event, ours, tables) => inputs.send(Input::Kernel),
                    Ok(_) => Ok(()),
                    Err(error) => {
                        tracing::error!(%error, "no more notifications of nftables: only the audit mends the rules now");
                        return;
                    }
                };
                if told.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

/// Many configurations say `"EnableNFTables": false` because flannel's example does: a node without iptables is none the
/// worse for nftables.
fn mode(wanted: Firewall) -> Firewall {
    match (wanted == Firewall::Iptables).then(|| Program::V4.variant()) {
        Some(Err(error)) => {
            tracing::warn!(%error, "iptables cannot be used: the rules are kept in nftables");
            Firewall::Nftables
        }
        Some(Ok(_)) | None => wanted,
    }
}

/// The tables that flannel's iptables chains are in.
const IPTABLES: [&str; 2] = ["nat", "filter"];

/// Others add to iptables' tables all the time; what they take away may be ours.
fn concerns(event: &Event, ours: u32, iptables: &[&str]) -> bool {
    match event {
        Event::Changed { by, .. } if *by == ours => false,
        Event::Changed { table, fate, .. } => {
            table == TABLE.name || (*fate == Fate::Gone && iptables.contains(&table.as_str()))
        }
        Event::Overrun => true,
        Event::Committed { .. } => false,
    }
}

fn holds(nft: &mut Nft, chain: &Chain) -> Result<bool, kernel::Error> {
    let at = TABLE.chain(&chain.name);
    if nft.chain(at)?.is_none_or(|found| found.base != Some(chain.base)) {
        return Ok(false);
    }
    let found = nft.rules(at)?;
    Ok(found.len() == chain.rules.len() && found.iter().zip(&chain.rules).all(|(there, rule)| there.is(rule)))
}

fn put(changes: &mut Transaction, chain: &Chain) {
    let at = TABLE.chain(&chain.name);
    changes.add_table(TABLE).add_chain(&nft::Chain::base(at, chain.base)).flush_chain(at);
    for rule in &chain.rules {
        changes.append_rule(at, rule);
    }
}
