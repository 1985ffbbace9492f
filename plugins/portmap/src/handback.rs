//! Published ports on the way back: our elements, and the reference's iptables rules that say the same.

use crate::error::Error;
use attach::handback::Held;
use cni::{Attachment, Call};
use kernel::Family;
use kernel::nft::{Element, Nft, SetName, Transaction};

use crate::chains;
use crate::conf::{Conf, NetConf};
use crate::error::Cause;
use crate::owner::Owner;
use crate::plan::Plan;
use crate::table::{LOCALNET, Realm};
use crate::{foreign, hostport, iptables};

/// The maps whose elements say whose a port is; each has a twin with the policies.
#[must_use]
pub fn sets() -> [SetName<'static>; 4] {
    Realm::ALL.map(Realm::targets)
}

/// The ports of one attachment, as its configuration and its result say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    conf: Conf,
    plan: Plan,
    form: Form,
}

/// Which of the reference's backends will look for the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The one that it has always had, and takes where nothing else is said.
    Iptables,
    /// The one that a configuration names.
    Nftables,
}

impl Ports {
    /// Reads them from the call that an ADD was.
    ///
    /// # Errors
    /// As ADD's; [`Cause::NoReference`] for what the reference would not find again in its iptables rules.
    pub fn of(call: &Call) -> Result<Self, Error> {
        let conf = Conf::of(call)?;
        let plan = Plan::of(&conf, call)?;
        let written: NetConf = call.conf()?;
        let in_nft_words = [&written.conditions_v4, &written.conditions_v6]
            .iter()
            .any(|words| words.first().is_some_and(|word| !word.starts_with(['-', '!'])));
        if in_nft_words {
            let what = "conditions in nftables' words: in the reference's tables they would be asked for all networks";
            return Err(Cause::NoReference { what: what.to_owned() }.into());
        }
        let form = if written.backend == "nftables" { Form::Nftables } else { Form::Iptables };
        Ok(Self { conf: conf.for_reference(written), plan, form })
    }

    /// Whose they are.
    #[must_use]
    pub fn attachment(&self) -> &Attachment {
        &self.plan.attachment
    }

    /// Whether the reference's nftables backend will look for them.
    #[must_use]
    pub fn are_nftables(&self) -> bool {
        self.form == Form::Nftables
    }

    /// The first port of the kernel's that these do not have.
    #[must_use]
    pub fn lacks(&self, held: &[&Held]) -> Option<String> {
        let known = |held: &Held| {
            let realm = Realm::ALL.into_iter().find(|realm| realm.targets() == held.set)?;
            let found = (realm.key(&held.element.key)?, realm.target(&held.element.data)?);
            Some(self.plan.publications.iter().any(|own| (own.key, own.target) == found))
        };
        let unknown = held.iter().find(|held| known(held) != Some(true))?;
        let realm = Realm::ALL.into_iter().find(|realm| realm.targets() == unknown.set)?;
        Some(
            realm.key(&unknown.element.key).map_or_else(|| "an unreadable key".into(), |key| key.to_string()),
        )
    }
}

/// The lines of table `nat` that `iptables-restore --noflush` makes the reference's rules of, for one family. `saved` is
/// what `iptables-save -t nat` printed.
#[must_use]
pub fn rules(all: &[Ports], family: Family, saved: &str) -> String {
    chains::rules(&of_form(all, Form::Iptables), family, saved)
}

/// Puts the rules of those ports into a batch that the reference's nftables backend will look for.
pub fn add(nft: &mut Nft, batch: &mut Transaction, all: &[Ports]) -> Result<(), Error> {
    hostport::add(nft, batch, &of_form(all, Form::Nftables))
}

fn of_form(all: &[Ports], form: Form) -> Vec<(&Conf, &Plan)> {
    all.iter().filter(|ports| ports.form == form).map(|ports| (&ports.conf, &ports.plan)).collect()
}

/// Puts the removal of an element, and of its twin, into a batch.
pub fn remove(removal: &mut Transaction, held: &Held) {
    held.remove(removal);
    for realm in Realm::ALL.into_iter().filter(|realm| realm.targets() == held.set) {
        removal.destroy_elements(realm.policies(), &[Element::new(held.element.key)]);
    }
}

/// The host's end of the owner's interface, if the element names one: it goes with the sandbox.
#[must_use]
pub fn via(held: &Held) -> Option<String> {
    Owner::read(held.element.comment.as_deref()).via().map(str::to_owned)
}

/// Interfaces behind which packets to 127.0.0.0/8 are dropped as long as our table is there.
pub fn guarded(nft: &mut Nft) -> Result<Vec<String>, Error> {
    let elements = match nft.elements(LOCALNET) {
        Err(refusal) if refusal.is_absent() => return Ok(Vec::new()),
        elements => elements?,
    };
    Ok(elements.iter().filter_map(|element| element.key.ifname_at(0)).collect())
}

/// Removes the reference's rules of an attachment that ended while they were written.
pub fn forget(nft: &mut Nft, attachment: &Attachment) -> Result<(), Error> {
    foreign::remove(nft, attachment, &[])?;
    iptables::remove_legacy(&foreign::container_chain(attachment))
}
