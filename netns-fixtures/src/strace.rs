//! System calls of a plugin: listed, counted, and made deadly one by one.

use std::fs;

use tempfile::TempDir;

use crate::answer::Answer;
use crate::invocation::Invocation;
use crate::space::Space;

/// Decoded netlink messages are long: this much tells which one it is.
const TEXT: usize = 120;

/// One system call of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TracedCall {
    /// Its name.
    pub name: String,
    /// How many calls of this name the same thread had made, this one included.
    pub nth: usize,
    /// The beginning of strace's line.
    pub text: String,
}

/// The system calls of one run, threads and children included.
#[derive(Debug, Clone)]
pub struct Trace {
    /// In the order in which they were entered.
    pub calls: Vec<TracedCall>,
}

impl Trace {
    /// How many there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there was none: then strace did not work.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many there were of one name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| call.name == name).count()
    }

    /// Every `(name, nth)` at which a run can be struck, once each, in order of first appearance.
    #[must_use]
    pub fn places(&self) -> Vec<(String, usize)> {
        let mut places: Vec<(String, usize)> = Vec::new();
        for call in &self.calls {
            let place = (call.name.clone(), call.nth);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

/// strace in front of a plugin.
pub struct Strace;

impl Strace {
    /// Runs a plugin and lists its system calls.
    #[track_caller]
    pub fn list(invocation: &Invocation, host: &impl Space) -> (Answer, Trace) {
        let dir = TempDir::new().expect("a temporary directory");
        let log = dir.path().join("calls").display().to_string();
        let answer = invocation.clone().under(&["strace", "-f", "-qq", "-s", "64", "-o", &log]).run(host);
        let text =
            fs::read_to_string(&log).unwrap_or_else(|error| panic!("strace left no log: {error}: {answer}"));
        (answer, parse(&text))
    }

    /// Runs a plugin that is killed at the `nth` entry of a thread into the system call `name`.
    #[track_caller]
    pub fn kill_at(invocation: &Invocation, host: &impl Space, (name, nth): (&str, usize)) -> Answer {
        tampered(invocation, host, (name, &format!("signal=SIGKILL:when={nth}")))
    }

    /// Runs a plugin whose `nth` system call `name` of a thread fails with `errno`, such as `ENOBUFS`.
    #[track_caller]
    pub fn fail_at(
        invocation: &Invocation,
        host: &impl Space,
        (name, nth, errno): (&str, usize, &str),
    ) -> Answer {
        tampered(invocation, host, (name, &format!("error={errno}:when={nth}")))
    }

    /// Runs a plugin whose system calls `name` of a thread all fail from the `nth` on.
    #[track_caller]
    pub fn fail_from(
        invocation: &Invocation,
        host: &impl Space,
        (name, nth, errno): (&str, usize, &str),
    ) -> Answer {
        tampered(invocation, host, (name, &format!("error={errno}:when={nth}+")))
    }
}

#[track_caller]
fn tampered(invocation: &Invocation, host: &impl Space, (name, how): (&str, &str)) -> Answer {
    let (only, inject) = (format!("trace={name}"), format!("inject={name}:{how}"));
    invocation
        .clone()
        .under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &only, "-e", &inject])
        .run(host)
}

/// Lines are `<thread> name(arguments…`; resumed halves, signals and exits are not entries. Nor are calls that the
/// kernel starts again by itself: some sysctls do so as long as somebody else holds rtnl, a thousand times.
fn parse(text: &str) -> Trace {
    let mut calls: Vec<TracedCall> = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        if rest.contains("ERESTARTNOINTR") {
            continue;
        }
        let nth = seen.entry((thread.to_owned(), name.to_owned())).or_insert(0);
        *nth += 1;
        calls.push(TracedCall {
            name: name.to_owned(),
            nth: *nth,
            text: rest.trim_start().chars().take(TEXT).collect(),
        });
    }
    Trace { calls }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_count_and_resumed_calls_count_once() {
        let trace = parse(
            "10 read(0, \"a\", 1) = 1\n10 read(0, <unfinished ...>\n11 read(3, \"\", 1) = 0\n\
             10 <... read resumed>) = 0\n10 +++ exited with 0 +++\n",
        );
        let places: Vec<(&str, usize)> =
            trace.calls.iter().map(|call| (call.name.as_str(), call.nth)).collect();
        assert_eq!(places, [("read", 1), ("read", 2), ("read", 1)]);
        assert_eq!(trace.places().len(), 2);
    }
}
