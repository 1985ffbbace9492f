//! The one crate that talks to Linux: namespaces, links, addresses, routes, neighbours, nftables and parameters, as
//! plain types over one blocking netlink client. It has no policy and no names of its own.

mod abi;
mod address;
mod batch;
mod bridge;
mod channel;
mod error;
pub mod linger;
mod link;
mod mac;
mod monitor;
mod neighbour;
mod netns;
mod nexthop;
pub mod nft;
mod route;
mod route_wire;
mod rtnl;
pub mod sysctl;
mod veth;
mod wait;
mod wire;

pub use address::{Address, Dad};
pub use batch::Batch;
pub use bridge::{Bridge, BridgePort, Creation, PortState};
pub use error::{Cause, Error};
pub use link::{Link, Operstate, Promiscuity};
pub use mac::{InvalidMac, Mac};
pub use monitor::{Event, Group, Monitor};
pub use neighbour::{Forwarding, ForwardingTable, Neighbour};
pub use netns::Netns;
pub use nexthop::Nexthop;
pub use route::{Family, Route, RouteFilter};
pub use rtnl::Rtnl;
pub use veth::Veth;
pub use wait::Until;
