//! nftables over netlink: rulesets changed in atomic batches and read back, without the `nft` program.
//!
//! A [`Transaction`] collects changes to tables, [`Chain`]s, [`Set`]s, [`Element`]s and [`Rule`]s and commits them in one
//! system call: all or nothing. [`Nft`] is the socket that it is committed on, and that reads what is there. [`Monitor`]
//! tells of changes by anybody.
//!
//! ```no_run
//! use kernel::nft::*;
//! use std::net::Ipv4Addr;
//!
//! let table = Table::new(Family::Ip, "example");
//! let pods = table.set("pods");
//! let after = table.chain("postrouting");
//! let base = Base {
//!     kind: ChainKind::Nat,
//!     hook: Hook::Postrouting,
//!     priority: priority::SRCNAT,
//!     policy: Policy::Accept,
//! };
//!
//! let mut nft = Nft::open()?;
//! let mut changes = Transaction::new();
//! changes
//!     .add_table(table)
//!     .add_set(&Set::plain(pods, &[Type::Ipv4Addr]))
//!     .add_chain(&Chain::base(after, base))
//!     .flush_chain(after)
//!     .append_rule(
//!         after,
//!         &Rule::new(Family::Ip)
//!             .lookup(&[Field::Source(Network::Ip)], Membership::In, "pods")
//!             .masquerade(NatFlags::FULLY_RANDOM),
//!     )
//!     .add_elements(pods, &[Element::new(Ipv4Addr::new(10, 1, 0, 2)).with_comment("eth0 of pod 1")]);
//! changes.commit(&mut nft)?;
//!
//! assert!(nft.element(pods, Ipv4Addr::new(10, 1, 0, 2))?.is_some());
//! # Ok::<(), kernel::Error>(())
//! ```
//!
//! How it works is from `linux/netfilter/nf_tables.h` and `nfnetlink.h`. Numbers in comments (`NFTA_...`) are those.

mod assemble;
mod attribute;
mod comment;
mod commit;
mod decode;
mod describe;
mod element;
mod encode;
mod expression;
mod field;
#[cfg(test)]
mod hostile;
mod interval;
mod keys;
mod message;
mod monitor;
mod object;
mod read;
mod read_elements;
mod read_rules;
mod register;
mod rule;
mod set;
mod socket;
mod statement;
mod transaction;
mod value;
mod verdict;

pub use element::{Data, Element};
pub use expression::{Direction, Expression, Header, Membership, Nat, NatKind, Relation};
pub use field::{Field, Network};
pub use keys::{AddressType, CtKey, CtState, CtStatus, FibResult, MetaKey, NatFlags};
pub use monitor::{Event, Fate, Monitor, Object};
pub use object::{Base, Chain, ChainKind, ChainName, Family, Hook, Policy, SetName, Table, priority};
pub use read::{ChainState, SetContents, SetState, TableState};
pub use read_rules::{RuleState, fingerprint};
pub use register::Register;
pub use rule::Rule;
pub use set::{Contents, Keys, Set, Type};
pub use socket::{Generation, Nft};
pub use statement::Destinations;
pub use transaction::Transaction;
pub use value::Value;
pub use verdict::Verdict;
