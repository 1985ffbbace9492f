//! The daemon's nftables rules: put in place in one transaction, compared with the kernel, put back when somebody removes them.

mod plan;

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use kernel::nft::{self, Event, Family, Monitor, Nft, Table, Transaction};
use overlay::{NetworkConfig, Subnets};

use crate::options::RuleChoice;
use crate::settle::Input;
use plan::Chain;

/// Our table; each network has its own chains in it.
const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridged");

/// How often an idle thread looks whether anybody still listens.
const IDLE: Duration = Duration::from_mins(1);

/// The rules that should be there.
pub struct Rules {
    nft: Nft,
    chains: Vec<Chain>,
    /// Chains of an earlier run, for another network or with other flags.
    retired: Vec<String>,
}

impl Rules {
    /// Plans the rules; `previous` are the networks of an earlier run. Nothing is changed before [`Rules::ensure`].
    pub fn new(
        choice: RuleChoice,
        config: &NetworkConfig,
        own: &Subnets,
        previous: &Subnets,
    ) -> Result<Self, kernel::Error> {
        let chains = plan::plan(choice, config, own);
        let networks = Subnets { v4: config.v4.map(|f| f.network), v6: config.v6.map(|f| f.network) };
        let mut retired: Vec<String> =
            plan::names(&networks).into_iter().chain(plan::names(previous)).collect();
        retired.retain(|name| chains.iter().all(|chain| chain.name != *name));
        Ok(Rules { nft: Nft::open()?, chains, retired })
    }

    /// How many rules there should be.
    pub fn count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// Compares and mends; the answer is how many rules had to be put in place. A chain is emptied and filled in one
    /// transaction: no packet meets a part of it.
    pub fn ensure(&mut self) -> Result<usize, kernel::Error> {
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
        std::thread::spawn(move || {
            loop {
                let told = match monitor.next(Instant::now() + IDLE) {
                    Ok(Some(event)) if concerns(&event, ours) => inputs.send(Input::Kernel),
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

fn concerns(event: &Event, ours: u32) -> bool {
    match event {
        Event::Changed { table, by, .. } => table == TABLE.name && *by != ours,
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
