//! Looking at a running daemon from outside, and holding it still.

use std::fs;

use nix::sys::signal::Signal;

use crate::daemon::Daemon;

impl Daemon<'_> {
    /// SIGSTOP: it misses whatever happens until [`Self::wake`].
    pub fn sleep(&mut self) {
        self.running().signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn wake(&mut self) {
        self.running().signal(Signal::SIGCONT);
    }

    /// SIGINT.
    pub fn interrupt(&mut self) {
        self.running().signal(Signal::SIGINT);
    }

    /// Its resident memory in KiB, now and at its highest (`VmRSS` and `VmHWM` of proc(5)).
    pub fn resident(&mut self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/status", self.running().id()))
            .expect("a running process has a status");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number =
                line.and_then(|line| line.trim_start_matches(':').split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        (value("VmRSS"), value("VmHWM"))
    }
}
