//! What the black-box tests share: a node with a runtime, the networks they attach to, and reading results.
//!
//! The tests run built binaries; worlds, traffic and the snapshot oracle come from `netns-fixtures`.

pub mod chains;
pub mod cluster;
pub mod contract;
pub mod neighbours;
pub mod ports;
pub mod rates;
pub mod slaughter;
pub mod ward;
pub mod way_back;
mod world;

pub use world::{World, address, files_below, merged};
