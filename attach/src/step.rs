//! What an attachment consists of, as data: each step can be applied (ADD), undone, and asked whether it holds (CHECK).

use cni::{Attachment, Cidr};
use ipnetwork::IpNetwork;
use kernel::{BridgePort, Dad, Mac, Route};

use crate::guard::Guard;
use crate::masquerade::Backend;
use crate::world::Place;

/// One step of a plan. `Ensure…` is shared with other attachments: idempotent, safe when many run at once, never
/// undone. `Create…` and what follows it is owned by the attachment and goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A bridge, up, with a fixed MAC address.
    EnsureBridge(Bridge),
    /// A veth pair from the bridge into the sandbox.
    CreateVeth(Veth),
    /// Hairpin and isolation of the host end, and its mark.
    SetPort {
        /// Host end.
        host: String,
        /// The bridge's settings of the port.
        port: BridgePort,
        /// What makes the port ours, as an interface alias.
        mark: String,
    },
    /// Settings under `/proc/sys` of one namespace, in order.
    Sysctls(Place, Vec<Sysctl>),
    /// An address of the sandbox's interface.
    AddAddress {
        /// Interface in the sandbox.
        ifname: String,
        /// Address with prefix length.
        address: Cidr,
        /// Whether the kernel tests for duplicates before it uses an IPv6 address.
        dad: Dad,
    },
    /// The sandbox's interface is up, and announces its IPv4 addresses when it is told to.
    RaiseLink {
        /// Interface in the sandbox.
        ifname: String,
    },
    /// Every address of the interface has passed duplicate address detection.
    AwaitAddresses {
        /// Interface in the sandbox.
        ifname: String,
    },
    /// A route in the sandbox.
    AddRoute {
        /// Interface in the sandbox.
        ifname: String,
        /// The route; its interface index is filled in when it is applied.
        route: Route,
    },
    /// The gateway's address on the bridge.
    EnsureAddress {
        /// Bridge.
        bridge: String,
        /// Gateway with the network's prefix length.
        address: IpNetwork,
        /// What to do about another address.
        conflict: Conflict,
    },
    /// The host forwards packets of a family.
    EnsureForwarding(Family),
    /// Traffic from the attachment's addresses to elsewhere leaves with the host's address.
    Masquerade {
        /// Whose.
        attachment: Attachment,
        /// Addresses with the network's prefix length.
        addresses: Vec<Cidr>,
        /// Who makes the rules.
        backend: Backend,
    },
    /// Frames that come from the sandbox carry its own source addresses.
    GuardPort(Guard),
    /// Both ends pass frames, and so does the bridge, whose carrier comes with its first port's. The host end is raised now,
    /// after [`Step::RaiseLink`]: an end without carrier must not be up for long ([`kernel::Veth::start`]).
    OpenPort {
        /// Host end.
        host: String,
        /// Interface in the sandbox.
        ifname: String,
        /// Bridge.
        bridge: String,
    },
    /// The host forgets who had these addresses before: a link where announcements are not heeded
    /// (`drop_gratuitous_arp`) would otherwise send to a dead neighbour until it gives up.
    ForgetNeighbours {
        /// Bridge.
        bridge: String,
        /// Addresses of the sandbox.
        addresses: Vec<std::net::IpAddr>,
    },
    /// The sandbox tells its neighbours who has its addresses now.
    Announce {
        /// Interface in the sandbox.
        ifname: String,
    },
}

/// A bridge as the configuration wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Interface name.
    pub name: String,
    /// MTU in bytes of a bridge that is made now; an existing one keeps its own.
    pub mtu: Option<u32>,
    /// Whether frames come back out of the port that they came in by.
    pub promiscuity: Promiscuity,
}

/// Whether the bridge device takes every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promiscuity {
    /// As it is.
    Untouched,
    /// On.
    On,
}

/// A veth pair as the configuration wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    /// Host end.
    pub host: String,
    /// Interface in the sandbox.
    pub ifname: String,
    /// MAC address of the sandbox's end; `None` lets the kernel choose.
    pub mac: Option<Mac>,
    /// MTU in bytes of both ends.
    pub mtu: Option<u32>,
    /// The bridge that gets the host end as a port.
    pub bridge: String,
    /// Whose it is, for the error when it exists already.
    pub attachment: Attachment,
}

/// One setting under `/proc/sys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Path below `/proc/sys`, with slashes.
    pub path: String,
    /// Value.
    pub value: &'static str,
    /// What a failure means.
    pub need: Need,
    /// Whether it is looked at first.
    pub write: Write,
}

/// When a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// At once: on a new interface it is known to differ.
    Always,
    /// Only where it differs: writing it costs, even the value that it has (`disable_ipv6` restarts the system call
    /// until it gets the kernel's one lock for links).
    IfDifferent,
}

/// What it means when a setting cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// ADD fails.
    Required,
    /// Nothing: the kernel may have been built without the feature.
    Wanted,
}

/// What happens to an address of the bridge that differs from the gateway (`forceAddress`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// ADD fails.
    Refuse,
    /// It is replaced.
    Replace,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The switch that makes the host forward this family.
    #[must_use]
    pub fn forwarding(self) -> &'static str {
        match self {
            Self::V4 => "net/ipv4/ip_forward",
            Self::V6 => "net/ipv6/conf/all/forwarding",
        }
    }
}
