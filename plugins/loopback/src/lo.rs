//! The loopback device of one sandbox.

use std::path::Path;

use cni::Cidr;
use kernel::{Netns, Rtnl};

use crate::Error;

/// Its name in every network namespace.
pub const NAME: &str = "lo";

/// `LOOPBACK_IFINDEX` of `include/net/flow.h`: `loopback_net_init` insists on it, so no look-up by name is needed.
const INDEX: u32 = 1;

/// Whether [`Lo::raise`] had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It was down.
    JustNow,
    /// It was up.
    Before,
}

/// `lo` of one sandbox, through a socket that was opened there.
pub struct Lo {
    rtnl: Rtnl,
}

impl Lo {
    /// Opens the sandbox at `path`. [`Error::Sandbox`] where there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let sandbox = Netns::open(path).map_err(|source| match source {
            kernel::Error::NamespaceMissing { .. } | kernel::Error::NotANamespace { .. } => {
                Error::Sandbox(source)
            }
            kernel::Error::Failed { .. } => Error::Kernel(source),
        })?;
        Ok(Self { rtnl: sandbox.visit(Rtnl::open)?? })
    }

    /// Whether `lo` is administratively up.
    pub fn is_up(&mut self) -> Result<bool, Error> {
        Ok(self.rtnl.link_at(INDEX)?.is_some_and(|link| link.up))
    }

    /// Brings `lo` up. The kernel then adds 127.0.0.1/8, and `::1` where IPv6 is enabled.
    pub fn raise(&mut self) -> Result<Raised, Error> {
        if self.is_up()? {
            return Ok(Raised::Before);
        }
        self.rtnl.set_link_up(INDEX)?;
        Ok(Raised::JustNow)
    }

    /// Takes `lo` down.
    pub fn lower(&mut self) -> Result<(), Error> {
        Ok(self.rtnl.set_link_down(INDEX)?)
    }

    /// The addresses of `lo`, in the kernel's order.
    pub fn addresses(&mut self) -> Result<Vec<Cidr>, Error> {
        let all = self.rtnl.addresses(INDEX)?;
        Ok(all.iter().filter_map(|a| Cidr::new(a.network.ip(), a.network.prefix())).collect())
    }
}
