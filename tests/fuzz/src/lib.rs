//! Fuzz targets for every parser of the project, the inputs that they are replayed with, and what makes new ones of those.
//!
//! A target is a function from any bytes to a [`Verdict`]: it may neither panic nor hang, and it checks what the parser
//! promises. `cargo test -p fuzz` replays `corpus/<target>/` and a fixed number of mutations of it;
//! `cargo run -p fuzz --release -- TARGET SECONDS` searches for longer and writes what it finds into the corpus.

pub mod corpus;
pub mod hunt;
pub mod mutate;
mod random;
mod scratch;
pub mod targets;
mod verdict;

pub use random::Random;
pub use targets::{TARGETS, Target};
pub use verdict::{Broken, Reached, Verdict};
