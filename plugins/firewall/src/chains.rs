//! Backend `iptables`: the reference's chains, made by one `iptables-restore` for each family.

use std::net::IpAddr;

use attach::Error;
use attach::step::Family;
use kernel::nft::Nft;

use crate::conf::Wanted;
use crate::program::{self, Variant};
use crate::ruleset::{self, CNI_FORWARD, FORWARD, Ruleset, STAGE_1, STAGE_2};
use crate::script::{self, Chains};
use crate::table::missing;

/// How often the chains are read anew when another process made one in between.
const ATTEMPTS: usize = 5;

/// Adds what is missing, for each family that has an address.
pub fn add(nft: &mut Nft, wanted: &Wanted, admin: &str) -> Result<(), Error> {
    for (family, addresses) in families(wanted) {
        let chains = Chains { addresses: &addresses, admin, policed: wanted.policed.as_ref() };
        add_family(nft, family, &chains)?;
    }
    Ok(())
}

fn add_family(nft: &mut Nft, family: Family, wanted: &Chains<'_>) -> Result<(), Error> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let present = read(nft, family, wanted.admin)?;
        let Some(text) = script::additions(wanted, &present) else { return Ok(()) };
        match program::run(program::of(family).restore, &["--noflush", "--wait"], &text) {
            Ok(_) => return Ok(()),
            // The same text would fail again: nothing has changed since.
            Err(failure) if last.as_ref() == Some(&text) => return Err(failure),
            Err(_) => last = Some(text),
        }
    }
    Err(Error::Program {
        program: program::of(family).restore.into(),
        reason: "other programs changed the chains each time that they were about to be completed".into(),
    })
}

/// Whether every chain and rule is there. Nothing is changed (weakness 55).
///
/// # Errors
/// [`Error::Mismatch`] with the first rule that is not.
pub fn holds(nft: &mut Nft, wanted: &Wanted, admin: &str) -> Result<(), Error> {
    for (family, addresses) in families(wanted) {
        let chains = Chains { addresses: &addresses, admin, policed: wanted.policed.as_ref() };
        let present = read(nft, family, admin)?;
        if let Some(line) = script::missing(&chains, &present) {
            let program = program::of(family).save;
            return Err(missing(format!("iptables rules ({program} -t filter)"), format!("\"{line}\"")));
        }
    }
    Ok(())
}

/// Whether the reference's rules of `address` are there, in the tables of `iptables-nft`.
pub fn accept(nft: &mut Nft, address: IpAddr) -> Result<bool, Error> {
    let present = ruleset::read(nft, Family::of(address), &[CNI_FORWARD])?;
    Ok(present.of_addresses(&[address]).count() >= 2)
}

fn read(nft: &mut Nft, family: Family, admin: &str) -> Result<Ruleset, Error> {
    let programs = program::of(family);
    let restore = program::find(programs.restore)
        .ok_or_else(|| Error::Program { program: programs.restore.into(), reason: program::not_found() })?;
    match program::variant(&restore) {
        Variant::Nft => ruleset::read(nft, family, &[FORWARD, CNI_FORWARD, admin, STAGE_1, STAGE_2]),
        Variant::Legacy => ruleset::read_legacy(programs.save),
    }
}

/// The families that have an address; only their programs are needed (weakness 53).
fn families(wanted: &Wanted) -> impl Iterator<Item = (Family, Vec<IpAddr>)> + '_ {
    let of = |family| {
        let addresses =
            wanted.addresses.iter().copied().filter(move |address| Family::of(*address) == family);
        (family, addresses.collect::<Vec<_>>())
    };
    [Family::V4, Family::V6].into_iter().map(of).filter(|(_, addresses)| !addresses.is_empty())
}
