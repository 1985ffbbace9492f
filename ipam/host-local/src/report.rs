//! What a person should know though the call succeeds: a line on stderr, which runtimes pass on or log.
use std::io::Write;

/// Writes one line about a network. That it cannot be written is no reason to fail.
pub fn say(network: &str, text: &str) {
    writeln!(std::io::stderr(), "host-local: network {network}: {text}").ok();
}
