//! The two namespaces that an interface plugin works in, each with one netlink socket and the links it has met.

use std::path::Path;

use cni::Call;
use kernel::{Link, Netns, Rtnl};

use crate::Error;

/// Which of the two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Where the runtime runs.
    Host,
    /// Where the container runs.
    Sandbox,
}

/// The sandbox of a call, opened and known to be a namespace.
#[derive(Debug)]
pub struct Sandbox {
    netns: Netns,
    path: String,
    container: String,
}

impl Sandbox {
    /// Opens `CNI_NETNS`.
    ///
    /// # Errors
    /// [`Error::Sandbox`] when the path is missing or is not a network namespace.
    pub fn open(call: &Call) -> Result<Self, Error> {
        let path = call.netns.clone().unwrap_or_default();
        Netns::open(Path::new(&path))
            .map(|netns| Self { netns, path, container: call.container_id.clone() })
            .map_err(|source| Error::Sandbox { container: call.container_id.clone(), source })
    }

    /// Opens `CNI_NETNS` for a verb that must also work without it: `None` when it is empty, missing, or no
    /// longer a network namespace (a runtime may have removed the mount and left the file, or ended the process in whose
    /// `/proc` folder the path lies).
    #[must_use]
    pub fn open_if_there(call: &Call) -> Option<Self> {
        let (path, container) = (call.netns.clone()?, call.container_id.clone());
        let netns = Netns::open(Path::new(&path)).ok()?;
        // Only who enters learns whether it is one of networks.
        let is_other = matches!(netns.visit(|| ()), Err(kernel::Error::NotANamespace { .. }));
        (!is_other).then_some(Self { netns, path, container })
    }

    /// The namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// `CNI_NETNS` as given: what a result's `sandbox` must say.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Host and sandbox, with one socket each.
#[derive(Debug)]
pub struct World {
    home: Netns,
    host: Rtnl,
    sandbox: Sandbox,
    inside: Rtnl,
    met: Vec<(Place, Link)>,
}

impl World {
    /// The world of an attachment: the current namespace and `sandbox`, which is entered once before anything is made:
    /// only then it is known to be a *network* namespace.
    pub fn open(sandbox: Sandbox) -> Result<Self, Error> {
        let home = Netns::current()?;
        let inside = sandbox.netns.visit_from(&home, Rtnl::open).and_then(|opened| opened);
        let inside = inside.map_err(|source| match source {
            kernel::Error::NamespaceMissing { .. } | kernel::Error::NotANamespace { .. } => {
                Error::Sandbox { container: sandbox.container.clone(), source }
            }
            kernel::Error::Failed { .. } => Error::Kernel(source),
        })?;
        Ok(Self { home, host: Rtnl::open()?, sandbox, inside, met: Vec::new() })
    }

    /// The sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Runs `work` inside the sandbox.
    pub fn visit<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        Ok(self.sandbox.netns.visit_from(&self.home, work)?)
    }

    /// The socket of `place`.
    pub fn rtnl(&mut self, place: Place) -> &mut Rtnl {
        match place {
            Place::Host => &mut self.host,
            Place::Sandbox => &mut self.inside,
        }
    }

    /// The host's socket and the sandbox's namespace at once: what a pair that spans both needs.
    pub fn across(&mut self) -> (&mut Rtnl, &Netns) {
        (&mut self.host, &self.sandbox.netns)
    }

    /// The link `name` as the kernel has it now; remembered for [`World::known`].
    pub fn look(&mut self, place: Place, name: &str) -> Result<Option<Link>, Error> {
        let found = self.rtnl(place).link(name)?;
        if let Some(link) = &found {
            self.remember(place, link.clone());
        }
        Ok(found)
    }

    /// Keeps `link` as the newest that is known of it.
    pub fn remember(&mut self, place: Place, link: Link) {
        self.met.retain(|(at, met)| (*at, &met.name) != (place, &link.name));
        self.met.push((place, link));
    }

    /// The link `name` as last seen, asked for only if it was never seen.
    pub fn known(&mut self, place: Place, name: &str) -> Result<Option<Link>, Error> {
        if let Some((_, link)) = self.met.iter().find(|(at, link)| *at == place && link.name == name) {
            return Ok(Some(link.clone()));
        }
        self.look(place, name)
    }

    /// The index of the link `name`, which must exist.
    pub fn index(&mut self, place: Place, name: &str) -> Result<u32, Error> {
        match self.known(place, name)? {
            Some(link) => Ok(link.index),
            None => Err(Error::LinkGone { name: name.to_owned() }),
        }
    }
}
