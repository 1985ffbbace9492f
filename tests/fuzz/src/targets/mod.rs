//! Every target by name: what it runs, its own words for mutations, and how often `cargo test` mutates its corpus.

mod bandwidth;
mod bridge;
mod chained;
mod chained_words;
mod cni;
mod cni_request;
mod firewall;
mod flannel;
mod flannel_life;
mod host_local;
mod host_local_life;
mod marks;
mod overlay;
mod overlay_frames;
mod overlay_leases;
mod portmap;
mod request;
mod routing;
mod tuning;
mod words;

use crate::verdict::Verdict;

/// A function that takes any bytes, never panics or hangs, and checks what a parser promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its directory in the corpus.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]) -> Verdict,
    /// Words that its format knows.
    pub words: &'static [&'static str],
    /// Mutations in a replay.
    pub rounds: usize,
}

const fn target(
    name: &'static str,
    run: fn(&[u8]) -> Verdict,
    words: &'static [&'static str],
    rounds: usize,
) -> Target {
    Target { name, run, words, rounds }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("cni_json", cni::json, words::CONF, 3000),
    target("cni_result", cni::result, words::RESULT, 1600),
    target("cni_args", cni::args, words::ARGS, 6000),
    target("cni_cidr", cni::cidr, words::ARGS, 6000),
    target("cni_call", cni_request::call, words::REQUEST, 3000),
    target("cni_respond", cni_request::respond, words::REQUEST, 3000),
    target("plugins_respond", cni_request::plugins, words::REQUEST, 2000),
    target("bridge_conf", bridge::conf, words::CONF, 3000),
    target("host_local_conf", host_local::conf, words::RANGES, 1600),
    target("host_local_text", host_local::text, words::FILES, 6000),
    target("host_local_files", host_local::files, words::FILES, 800),
    target("host_local_life", host_local_life::life, words::LIFE, 240),
    target("flannel_conf", flannel::conf, words::FLANNEL, 3000),
    target("flannel_subnet_env", flannel::subnet_env, words::SUBNET_ENV, 5000),
    target("flannel_life", flannel_life::life, words::FLANNEL_LIFE, 400),
    target("overlay_config", overlay::config, words::NETWORK, 4000),
    target("overlay_key", overlay::key, words::LEASES, 8000),
    target("overlay_attributes", overlay::attributes, words::LEASES, 5000),
    target("overlay_subnet_env", overlay::subnet_env, words::SUBNET_ENV, 3000),
    target("overlay_frames", overlay_frames::frames, words::LEASES, 6000),
    target("overlay_leases", overlay_leases::leases, words::LEASES, 1600),
    target("portmap_conf", portmap::conf, chained_words::PORTMAP, 3000),
    target("portmap_saved", portmap::saved, chained_words::SAVED, 4000),
    target("firewall_conf", firewall::conf, chained_words::FIREWALL, 3000),
    target("firewall_saved", firewall::saved, chained_words::SAVED, 4000),
    target("bandwidth_conf", bandwidth::conf, chained_words::BANDWIDTH, 3000),
    target("tuning_conf", tuning::conf, chained_words::TUNING, 3000),
    target("tuning_allowlist", tuning::allowlist, chained_words::ALLOWLIST, 2000),
    target("tuning_backup", tuning::backup, chained_words::BACKUP, 1000),
    target("sbr_conf", routing::sbr, chained_words::ROUTING, 3000),
    target("vrf_conf", routing::vrf, chained_words::ROUTING, 3000),
    target("marks", marks::marks, chained_words::MARKS, 4000),
];

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
