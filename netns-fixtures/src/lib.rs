//! Test worlds: nodes and pods as nameless namespaces, real traffic, a snapshot oracle, and the programs under test.
//!
//! A world needs no clean-up: a [`Node`] and a [`Pod`] are descriptors of namespaces, gone with the test. Everything
//! here panics when a world cannot be built, because a test has no better way to fail.

mod answer;
mod bins;
mod capability;
mod clients;
mod cnitool;
mod daemon;
mod etcd;
mod invocation;
mod network;
mod node;
mod pinger;
mod pod;
mod process;
mod runtime;
mod scrutiny;
mod snapshot;
mod space;
mod strace;
mod traffic;
mod underlay;
mod wait;

pub use answer::{Answer, CniError};
pub use bins::{Bins, REFERENCE_DIR};
pub use capability::{Capability, record_skip};
pub use clients::{Clients, Tally};
pub use cnitool::CniTool;
pub use daemon::{Daemon, DaemonOptions};
pub use etcd::Etcd;
pub use invocation::Invocation;
pub use network::{Network, Target};
pub use node::Node;
pub use pinger::{Loss, Pinger};
pub use pod::Pod;
pub use process::Process;
pub use runtime::{Failure, Runtime};
pub use snapshot::{Snapshot, assert_same};
pub use space::Space;
pub use strace::{Strace, Trace, TracedCall};
pub use traffic::{Echo, Protocol, assert_blocked, assert_ping, ping, tcp_echo, udp_echo};
pub use underlay::Underlay;
pub use wait::{eventually, within};
