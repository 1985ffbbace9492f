//! The daemon's mind: network configuration, leases, the state that the kernel should be in, and the difference to the one it is in.
//!
//! Nothing here reads a clock, opens a socket or touches a file: time and chance are parameters, so every decision of
//! the daemon can be tested with two values and an assertion.

mod acquire;
mod backend_data;
mod config;
mod desired;
mod device;
mod diff;
mod extension;
mod folded;
mod frame;
mod ground;
mod host_gw;
mod ipip;
mod key;
mod lease;
mod mac;
mod overview;
mod problem;
mod range;
mod reach;
mod removal;
mod route;
mod subnet_env;
mod tunnel;
mod udp;
mod uplink;
mod vtep;
mod vxlan;
mod wireguard;

pub use acquire::{AcquireError, Claim, Node, Pods, claim, free_subnets};
pub use backend_data::BackendData;
pub use config::{
    BackendConfig, ConfigError, ExtensionConfig, FamilyConfig, Firewall, IpipConfig, Mode, NetworkConfig,
    UdpConfig, VxlanConfig, WireguardConfig,
};
pub use desired::{Desired, desired, devices};
pub use device::{
    Device, DeviceChange, FoundDevice, Home, IpipLink, Tunnel, UdpLink, VxlanLink, local_address,
};
pub use diff::{Change, conflicts, diff};
pub use extension::{Errand, errands};
pub use frame::{Answer, Loss, LossReason, Post, Reply};
pub use ground::{End, Ends, Ground};
pub use key::{Key, Secret};
pub use lease::{Junk, KeyError, Lease, LeaseAttributes, Snapshot, Subnets, ValueError, same_name};
pub use mac::Mac;
pub use overview::{
    LeaseOverview, NetworkOverview, NodeOverview, Overview, PassOverview, RangeOverview, RouteOverview,
    RouteState, StoreOverview,
};
pub use problem::Problem;
pub use reach::Reach;
pub use removal::Removal;
pub use route::{Actual, Hop, Nexthop, Route};
pub use subnet_env::{Masquerade, Previous, SubnetEnv};
pub use tunnel::{Forwarding, Neighbour};
pub use uplink::Uplink;
pub use vtep::Vtep;
pub use wireguard::{Announced, FoundPeer, Peer};

/// The mark on every route and nexthop object that the daemon makes: `RTA_PROTOCOL`/`nh_protocol` 73, an ASCII "I".
///
/// `rtnetlink(7)` leaves numbers above `RTPROT_STATIC` (4) to routing daemons; 73 has no entry in iproute2's `rt_protos`.
pub const ROUTE_PROTOCOL: u8 = 73;
