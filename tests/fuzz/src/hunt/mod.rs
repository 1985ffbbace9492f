//! Searching for longer: a child process tries mutations, its parent notices how it ends and keeps what ended it.
//!
//! Release builds abort on a panic, and a parser that recurses too deep or never returns takes its process with it. So the
//! child writes down every input before it tries it, and the parent only watches.

mod child;
mod parent;
mod pool;

pub use child::{child, once};
pub use parent::{Hunt, hunt};
pub use pool::Pool;

/// The status with which a child ends that found a broken promise.
pub const BROKEN: u8 = 3;
