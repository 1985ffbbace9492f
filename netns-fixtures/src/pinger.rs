//! Pings without a pause, so that a test can say what an event cost: packets lost, and the longest silence.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::space::Space;
use crate::wait::eventually;

const INTERVAL: Duration = Duration::from_millis(20);
const ANSWERS: Duration = Duration::from_secs(15);

/// A `ping` that runs beside the test, one echo every 20 ms.
pub struct Pinger {
    process: Process,
    /// Holds the log.
    _dir: TempDir,
}

/// What became of the echoes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Echoes sent, up to the last one that was answered.
    pub sent: usize,
    /// Echoes without an answer.
    pub lost: usize,
    /// Their numbers, from 1.
    pub which: Vec<usize>,
    /// The longest time without an answer, in steps of the interval; zero when nothing was lost.
    pub longest: Duration,
}

impl Pinger {
    /// Starts pinging and waits for the first answer.
    #[track_caller]
    #[must_use]
    pub fn start(from: &impl Space, to: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("ping");
        command.args(["-n", "-i", &INTERVAL.as_secs_f64().to_string(), to]);
        let process = from.start(command, &dir.path().join("log"));
        eventually(&format!("{to} answers pings"), ANSWERS, || {
            (!answered(&process.log()).is_empty()).then_some(())
        });
        Self { process, _dir: dir }
    }

    /// Waits until so many more echoes were answered.
    #[track_caller]
    pub fn await_answers(&self, count: usize) {
        let enough = answered(&self.process.log()).len() + count;
        eventually(&format!("{count} more answers"), ANSWERS, || {
            (answered(&self.process.log()).len() >= enough).then_some(())
        });
    }

    /// Ends it and counts from the first answer, before which a peer may not know of the other yet, up to the last one, since later echoes may be on their way still: a test that wants to
    /// see a silence at the end awaits answers first.
    #[must_use]
    pub fn stop(mut self) -> Loss {
        self.process.signal(Signal::SIGINT);
        self.process.wait(ANSWERS);
        let got = answered(&self.process.log());
        let (first, last) = got.first().zip(got.last()).expect("the first answer was waited for");
        let (first, last) = (*first, *last);
        let (mut longest, mut run) = (0, 0);
        for number in first..=last {
            run = if got.contains(&number) { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        let which: Vec<usize> = (first..=last).filter(|number| !got.contains(number)).collect();
        let longest = INTERVAL * u32::try_from(longest).expect("a short test");
        Loss { sent: last + 1 - first, lost: which.len(), which, longest }
    }
}

fn answered(log: &str) -> BTreeSet<usize> {
    log.lines().filter(|line| line.contains("bytes from")).filter_map(number_in).collect()
}

fn number_in(line: &str) -> Option<usize> {
    line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::underlay::Underlay;

    #[test]
    fn a_silence_is_counted_and_quiet_running_is_not() {
        let world = Underlay::new(2);
        let calm = Pinger::start(world.node(0), &world.ipv4(1).to_string());
        calm.await_answers(5);
        let loss = calm.stop();
        assert_eq!((loss.lost, loss.longest), (0, Duration::ZERO), "{loss:?}");
        let cut = Pinger::start(world.node(0), &world.ipv4(1).to_string());
        world.unplug(1);
        eventually("an echo is lost", ANSWERS, || {
            // A silence of some intervals, seen from outside.
            let before = answered(&cut.process.log()).len();
            crate::wait::within(INTERVAL * 5, || None::<()>);
            (answered(&cut.process.log()).len() == before).then_some(())
        });
        world.plug(1);
        cut.await_answers(3);
        let loss = cut.stop();
        assert!(loss.lost >= 1 && loss.longest >= INTERVAL, "{loss:?}");
    }
}
