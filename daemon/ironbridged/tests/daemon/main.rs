//! The daemon's binary in nodes that are network namespaces on one underlay, with a `file:` store. Needs root.

#[cfg(test)]
mod life;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod many;
#[cfg(test)]
mod world;
