//! The process that watches: it starts children, ends those that hang or grow, and makes what ended one small.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::corpus;
use crate::scratch;
use crate::targets::Target;

/// A child that says nothing for so long hangs: it tries thousands of inputs a second.
const SILENCE: Duration = Duration::from_secs(10);
/// A child that has so much memory grows without bound, in bytes.
const MEMORY: u64 = 2 << 30;
/// How long one input may take by itself while it is made smaller.
const ONCE: Duration = Duration::from_secs(5);
/// Most attempts to make an input smaller.
const ATTEMPTS: usize = 400;
/// How many lines of a child's stderr are shown when it has found something.
const LAST_WORDS: usize = 12;
/// After so many finds a target wants mending, not searching.
const FINDS: usize = 10;

/// One search.
#[derive(Debug)]
pub struct Hunt {
    /// What is searched.
    pub target: &'static Target,
    /// For how long.
    pub time: Duration,
    /// Which chance.
    pub seed: u64,
}

/// How a child ended.
enum End {
    /// It found nothing.
    Quiet,
    /// Its last input ended it, for this reason.
    Found(String),
}

/// Searches, and keeps what it finds in the corpus; the files.
pub fn hunt(hunt: &Hunt) -> io::Result<Vec<PathBuf>> {
    let start = Instant::now();
    let current = scratch::home().join(format!("{}current", scratch::prefix(std::process::id())));
    let mut finds: Vec<PathBuf> = Vec::new();
    for round in 0.. {
        let left = hunt.time.saturating_sub(start.elapsed());
        if left < Duration::from_secs(1) || finds.len() >= FINDS {
            break;
        }
        let seconds = left.as_secs().to_string();
        let seed = (hunt.seed + round).to_string();
        let child = command(&["--child", hunt.target.name, &seed, &current.to_string_lossy(), &seconds])?;
        if let End::Found(why) = watch(child, SILENCE, Output::Shown)? {
            let input = smallest(hunt.target, &fs::read(&current)?)?;
            let path = corpus::keep_crash(hunt.target.name, &input)?;
            writeln!(io::stdout(), "{}: {why}: {}", hunt.target.name, path.display())?;
            if !finds.contains(&path) {
                finds.push(path);
            }
        }
    }
    if current.exists() {
        fs::remove_file(current)?;
    }
    Ok(finds)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Shown,
    Hidden,
}

fn command(arguments: &[&str]) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Waits for the end of a child, or makes it.
fn watch(mut child: Child, patience: Duration, output: Output) -> io::Result<End> {
    let lines = lines(child.stdout.take());
    let complaints = lines_at_the_end(child.stderr.take());
    let mut heard = Instant::now();
    let why = loop {
        match lines.recv_timeout(Duration::from_millis(250)) {
            Ok(line) => {
                heard = Instant::now();
                show(output, &format!("\r{line}  "))?;
            }
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) if heard.elapsed() > patience => break Some("it hangs"),
            Err(RecvTimeoutError::Timeout) if memory(&child) > MEMORY => break Some("it eats memory"),
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    show(output, "\n")?;
    if why.is_some() {
        child.kill()?;
    }
    let status = child.wait()?;
    scratch::sweep(child.id())?;
    let said = complaints.join().unwrap_or_default();
    Ok(match why {
        Some(why) => End::Found(why.to_owned()),
        None if status.success() => End::Quiet,
        None => End::Found(format!("{status}\n{}\n", said.join("\n"))),
    })
}

fn show(output: Output, text: &str) -> io::Result<()> {
    if output == Output::Hidden {
        return Ok(());
    }
    io::stdout().write_all(text.as_bytes())?;
    io::stdout().flush()
}

/// The lines that a child prints, until it ends.
fn lines(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in pipe.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The last lines of what a child says on stderr, where plugins also talk to people.
fn lines_at_the_end(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut last = VecDeque::new();
        for line in lines(pipe) {
            if last.len() == LAST_WORDS {
                last.pop_front();
            }
            last.push_back(line);
        }
        last.into()
    })
}

/// Resident memory in bytes (`proc(5)`, second word of `statm`, in pages of 4096 bytes).
fn memory(child: &Child) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/statm", child.id())).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Leaves pieces out, large ones first, as long as the rest still ends a child.
fn smallest(target: &'static Target, input: &[u8]) -> io::Result<Vec<u8>> {
    let mut best = input.to_vec();
    let mut piece = best.len().div_ceil(2);
    let mut attempts = 0;
    while piece > 0 && attempts < ATTEMPTS {
        let (mut at, before) = (0, best.len());
        while at < best.len() && attempts < ATTEMPTS {
            let end = (at + piece).min(best.len());
            let shorter: Vec<u8> = best
                .iter()
                .enumerate()
                .filter(|(i, _)| *i < at || *i >= end)
                .map(|(_, byte)| *byte)
                .collect();
            attempts += 1;
            if ends_a_child(target, &shorter)? { best = shorter } else { at = end }
        }
        if best.len() == before || piece > 1 {
            piece /= 2;
        }
    }
    Ok(best)
}

fn ends_a_child(target: &'static Target, input: &[u8]) -> io::Result<bool> {
    let path = scratch::home().join(format!("{}once", scratch::prefix(std::process::id())));
    fs::write(&path, input)?;
    let ended = watch_once(target, &path);
    fs::remove_file(&path)?;
    ended
}

fn watch_once(target: &'static Target, path: &Path) -> io::Result<bool> {
    let child = command(&["--once", target.name, &path.to_string_lossy()])?;
    Ok(matches!(watch(child, ONCE, Output::Hidden)?, End::Found(_)))
}
