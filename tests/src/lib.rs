//! What the black-box tests share: a node with a runtime, the networks they attach to, and reading results.
//!
//! The tests run built binaries; worlds, traffic and the snapshot oracle come from `netns-fixtures`.

pub mod cluster;
pub mod neighbours;
pub mod ports;
mod world;

pub use world::{World, address, merged};
