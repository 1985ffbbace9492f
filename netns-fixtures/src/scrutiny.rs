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

    /// The processor time that it has used so far, in clock ticks of 10 ms (`utime` and `stime` of proc(5)).
    pub fn ticks(&mut self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.running().id()))
            .expect("a running process has a status");
        // The second field is a name in parentheses that may hold blanks; utime and stime are fields 14 and 15.
        let after_name = text.rsplit(')').next().expect("a line");
        let ticks =
            after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        ticks.sum()
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
