//! Doing it: the reference's rules first, then ours away in one batch that fails if anybody changed the rules since.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use attach::handback::Held;
use attach::program;
use attach::{guard, masquerade};
use firewall::handback::Acceptance;
use kernel::Family;
use kernel::nft::{Generation, Nft, Table, Transaction};

use super::error::Error;
use super::kernel_state::KernelState;
use super::plan::Plan;

/// What one family's `iptables-restore --noflush` gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The family.
    pub family: Family,
    /// The text.
    pub rules: String,
}

impl Text {
    /// The texts of a plan over what is there now; none for a family that needs nothing.
    pub fn of(plan: &Plan) -> Result<Vec<Self>, Error> {
        let mut texts = Vec::new();
        for family in [Family::V4, Family::V6] {
            let mut rules = String::new();
            for (table, lines) in [("nat", nat(plan, family)?), ("filter", filter(plan, family)?)] {
                if !lines.is_empty() {
                    writeln!(rules, "*{table}\n{lines}COMMIT").ok(); // a String
                }
            }
            if !rules.is_empty() {
                texts.push(Self { family, rules });
            }
        }
        Ok(texts)
    }

    /// The program that applies it.
    pub fn program(&self) -> &'static str {
        program::of(self.family.into()).restore
    }

    /// Applies it.
    pub fn apply(&self) -> Result<(), Error> {
        Ok(program::run(self.program(), &["--noflush", "--wait"], &self.rules).map(|_| ())?)
    }
}

fn nat(plan: &Plan, family: Family) -> Result<String, Error> {
    if plan.masquerade.is_empty() && plan.ports.is_empty() {
        return Ok(String::new());
    }
    let masquerade = masquerade::handback::rules(&plan.masquerade, family.into(), "");
    if masquerade.is_empty() && portmap::handback::rules(&plan.ports, family, "").is_empty() {
        return Ok(String::new());
    }
    let saved = saved(family, "nat")?;
    let masquerade = masquerade::handback::rules(&plan.masquerade, family.into(), &saved);
    Ok(masquerade + &portmap::handback::rules(&plan.ports, family, &saved))
}

fn filter(plan: &Plan, family: Family) -> Result<String, Error> {
    if firewall::handback::rules(&plan.firewall, family.into(), "").is_empty() {
        return Ok(String::new());
    }
    Ok(firewall::handback::rules(&plan.firewall, family.into(), &saved(family, "filter")?))
}

fn saved(family: Family, table: &str) -> Result<String, Error> {
    Ok(program::run(program::of(family.into()).save, &["-t", table], "")?)
}

/// The batch that removes what leaves, makes what of the reference's is not iptables', and takes away those tables of ours that
/// nothing is left in.
pub fn removal(
    nft: &mut Nft,
    (plan, state): (&Plan, &KernelState),
    generation: Generation,
) -> Result<Transaction, Error> {
    let mut batch = Transaction::only_at(generation);
    for (attachment, held) in &plan.guards {
        let held: Vec<&Held> = held.iter().collect();
        guard::handback::add(nft, &mut batch, (attachment, &held))?;
    }
    portmap::handback::add(nft, &mut batch, &plan.ports)?;
    let used = used(plan, state);
    let staying: Vec<&Held> =
        plan.leaving.iter().filter(|held| used.contains(&held.set.table.to_string())).collect();
    let of = |sets: &[kernel::nft::SetName<'static>]| -> Vec<&Held> {
        staying.iter().copied().filter(|held| sets.contains(&held.set)).collect()
    };
    for held in of(&masquerade::handback::SETS).into_iter().chain(of(&guard::handback::SETS)) {
        held.remove(&mut batch);
    }
    for held in of(&portmap::handback::sets()) {
        portmap::handback::remove(&mut batch, held);
    }
    firewall::handback::remove(nft, &mut batch, &of(&firewall::handback::SETS))?;
    for table in unused(nft, &used)? {
        batch.destroy_table(table);
    }
    Ok(batch)
}

/// Tables of ours in which something stays, by name.
fn used(plan: &Plan, state: &KernelState) -> BTreeSet<String> {
    let all = state.belongings.values().flat_map(super::kernel_state::Belongings::all).chain(&state.unmarked);
    let staying = all.filter(|held| !plan.leaving.contains(held));
    staying.map(|held| held.set.table.to_string()).collect()
}

/// Tables of ours in which nothing stays.
fn unused(nft: &mut Nft, used: &BTreeSet<String>) -> Result<Vec<Table<'static>>, Error> {
    let tables = KernelState::tables(nft)?;
    Ok(tables.into_iter().filter(|table| !used.contains(&table.to_string())).collect())
}

/// Takes back what was written for attachments that ended meanwhile: what `before` has and `after` has not, part by part,
/// since a DEL goes from plugin to plugin.
pub fn forget(nft: &mut Nft, before: &Plan, after: &Plan) -> Result<(), Error> {
    for (attachment, _) in &before.masquerade {
        if !after.masquerade.iter().any(|(kept, _)| kept == attachment) {
            masquerade::handback::forget(attachment)?;
        }
    }
    for ports in &before.ports {
        if !after.ports.iter().any(|kept| kept.attachment() == ports.attachment()) {
            portmap::handback::forget(nft, ports.attachment())?;
        }
    }
    for acceptance in &before.firewall {
        // An attachment that ended and was made anew has other addresses.
        let kept: Vec<IpAddr> = after.firewall.iter().flat_map(Acceptance::addresses).copied().collect();
        acceptance.forget(nft, &kept)?;
    }
    Ok(())
}
