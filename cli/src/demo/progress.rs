//! Steps as they happen: a spinner on a terminal, plain lines elsewhere. On standard error, so that the picture can be piped.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::Error;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const BETWEEN: Duration = Duration::from_millis(80);
const ERASE: &str = "\r\x1b[K";

/// One step under way.
pub struct Step {
    title: String,
    begin: Instant,
    spinner: Option<(Sender<String>, JoinHandle<()>)>,
}

/// Runs one step: its title, and what it came to, appear on standard error.
pub fn step<T>(title: &str, work: impl FnOnce(&Step) -> Result<T, Error>) -> Result<T, Error> {
    let step = Step::begin(title);
    let result = work(&step);
    step.end(if result.is_ok() { "✔" } else { "✘" });
    result
}

impl Step {
    fn begin(title: &str) -> Self {
        let spinner = stderr().is_terminal().then(|| spin(title.to_owned()));
        Self { title: title.to_owned(), begin: Instant::now(), spinner }
    }

    /// Says what the step is at, where that can be replaced by what comes next.
    pub fn at(&self, what: &str) {
        if let Some((sender, _)) = &self.spinner {
            // A spinner that has ended has nothing to show any more.
            sender.send(format!("{}: {what}", self.title)).ok();
        }
    }

    fn end(self, mark: &str) {
        let seconds = self.begin.elapsed().as_secs_f64();
        if let Some((sender, thread)) = self.spinner {
            drop(sender);
            // Its panic would have been about drawing only.
            thread.join().ok();
        }
        say(&format!("{mark} {} ({seconds:.2} s)\n", self.title));
    }
}

fn spin(title: String) -> (Sender<String>, JoinHandle<()>) {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || {
        let mut text = title;
        for frame in FRAMES.iter().cycle() {
            say(&format!("{ERASE}{frame} {text}"));
            match receiver.recv_timeout(BETWEEN) {
                Ok(next) => text = next,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        say(ERASE);
    });
    (sender, thread)
}

/// A terminal that is gone is no reason to end.
fn say(text: &str) {
    let mut out = stderr().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}
