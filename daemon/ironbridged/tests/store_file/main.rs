//! The file store: the semantic suite over a directory, and what only files can do.

#[cfg(test)]
mod directory;
#[cfg(test)]
mod fixed;
#[cfg(test)]
#[path = "../store_support/mod.rs"]
mod store_support;

suite_of!(directory::Directory::new());
