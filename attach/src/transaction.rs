//! An ADD that undoes itself: each owned step leaves its inverse, and a failure runs the inverses in reverse.

use cni::Attachment;

use crate::apply;
use crate::error::{Error, On};
use crate::guard;
use crate::masquerade::{self, Extent};
use crate::ruleset::Rules;
use crate::step::Step;
use crate::world::{Place, World};

/// The inverse of something that was done.
pub enum Undo<'a> {
    /// Deletes the pair whose host end has this name.
    DeleteVeth(String),
    /// Removes the rules of an attachment.
    Unmasquerade(Attachment),
    /// Removes the spoof check of an attachment.
    Unguard(Attachment),
    /// Gives the addresses back.
    Release(Box<dyn FnOnce() -> Result<(), cni::Error> + 'a>),
}

/// A run of steps against a world.
pub struct Transaction<'a> {
    world: &'a mut World,
    undo: Vec<Undo<'a>>,
}

impl<'a> Transaction<'a> {
    /// Runs `work`. When it fails, everything that it did is taken back, in reverse order.
    ///
    /// # Errors
    /// What `work` failed with; [`Error::RollbackIncomplete`] if taking back failed too.
    pub fn run<T>(
        world: &'a mut World,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut transaction = Self { world, undo: Vec::new() };
        work(&mut transaction).map_err(|cause| transaction.roll_back(cause))
    }

    /// The world that the steps change.
    pub fn world(&mut self) -> &mut World {
        self.world
    }

    /// Applies one step and keeps its inverse.
    ///
    /// The inverse is kept first: a step may fail half-way, and every inverse takes absence for success. The pair is
    /// the exception: if it existed before, it is somebody else's.
    pub fn apply(&mut self, step: &Step) -> Result<(), Error> {
        if let Step::Masquerade { attachment, .. } = step {
            self.undo.push(Undo::Unmasquerade(attachment.clone()));
        }
        if let Step::GuardPort(guard) = step {
            self.undo.push(Undo::Unguard(guard.attachment.clone()));
        }
        step.apply(self.world)?;
        if let Step::CreateVeth(veth) = step {
            self.undo.push(Undo::DeleteVeth(veth.host.clone()));
        }
        Ok(())
    }

    /// Applies `steps` in order; those that can go together in one message do.
    pub fn apply_all(&mut self, steps: &[Step]) -> Result<(), Error> {
        for run in steps.chunk_by(|one, next| one.goes_with_others() && next.goes_with_others()) {
            match run {
                [one] => self.apply(one)?,
                several => apply::together(several, self.world)?,
            }
        }
        Ok(())
    }

    /// Keeps the inverse of something that was done outside of a step.
    pub fn on_failure(&mut self, undo: Undo<'a>) {
        self.undo.push(undo);
    }

    fn roll_back(self, cause: Error) -> Error {
        let Self { world, undo } = self;
        // Addresses last, as in DEL: none is handed out while something still uses it.
        let (releases, others): (Vec<_>, Vec<_>) =
            undo.into_iter().rev().partition(|undo| matches!(undo, Undo::Release(_)));
        let failures = others.into_iter().chain(releases).filter_map(|undo| undo.run(world).err());
        cause.after_undoing(failures)
    }
}

impl Undo<'_> {
    fn run(self, world: &mut World) -> Result<(), Error> {
        match self {
            Self::DeleteVeth(host) => {
                let rtnl = world.rtnl(Place::Host);
                match rtnl.link(&host)? {
                    Some(link) => rtnl.delete_link(link.index).on(&host),
                    None => Ok(()),
                }
            }
            Self::Unmasquerade(attachment) => {
                let mut rules = Rules::open_if_there()?;
                masquerade::remove(&mut rules, &attachment, (None, Extent::Everyones))
            }
            Self::Unguard(attachment) => guard::remove(&mut Rules::open_if_there()?, &attachment),
            Self::Release(release) => Ok(release()?),
        }
    }
}
