//! What interface plugins share: names from identity, steps and their transaction, the IPAM grant, masquerade, teardown.
//!
//! A plugin parses its configuration, asks a pure function for a plan (a `Vec` of [`Step`]s), and applies it in a
//! [`Transaction`]; CHECK asks the same plan whether it still holds; DEL and GC need nothing but identity.

pub mod guard;
pub mod handback;
pub mod identity;
pub mod masquerade;
pub mod program;
pub mod step;
pub mod teardown;

mod apply;
mod cause;
mod error;
mod grant;
mod holds;
mod ruleset;
mod shared;
mod transaction;
mod world;

pub use cause::{Cause, previous};
pub use error::Error;
pub use grant::Grant;
pub use shared::bridge_has_room;
pub use step::Step;
pub use transaction::{Transaction, Undo};
pub use world::{Place, Sandbox, World};
