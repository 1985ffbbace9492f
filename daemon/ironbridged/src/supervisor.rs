//! Telling the supervisor how the daemon is (`sd_notify(3)`): READY, STATUS, WATCHDOG, STOPPING.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::health::Status;
use crate::settle::Input;

/// What the environment says of a supervisor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervision {
    /// `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub socket: Option<String>,
    /// `WATCHDOG_USEC`, if it is meant for this process: without a sign of life for so long it is killed.
    pub watchdog: Option<Duration>,
}

impl Supervision {
    /// From the variables of `sd_notify(3)` and `sd_watchdog_enabled(3)`.
    pub fn read<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Self {
        let own = std::process::id().to_string();
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let microseconds = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|text| text.parse().ok());
        Supervision {
            socket: variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()).map(str::to_owned),
            watchdog: microseconds.filter(|time| *time > 0).map(Duration::from_micros),
        }
    }

    /// Sends one message; without a supervisor nothing happens.
    pub fn tell(&self, message: &str) {
        if let Some(Err(error)) = self.socket.as_deref().map(|socket| send(socket, message)) {
            tracing::warn!(%error, message, "the supervisor could not be told");
        }
    }

    /// Tells of readiness once and of every change, as long as there are any.
    pub async fn follow(self, mut status: watch::Receiver<Status>) {
        let mut told = None;
        let mut was_ready = false;
        loop {
            let (line, is_ready) = {
                let now = status.borrow_and_update();
                (format!("STATUS={}", now.line()), now.ready)
            };
            let first = is_ready && !was_ready;
            was_ready |= is_ready;
            if told.as_ref() != Some(&line) || first {
                self.tell(&if first { format!("READY=1\n{line}") } else { line.clone() });
                told = Some(line);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    /// Keeps the watchdog quiet as long as the settling loop answers: a thread that hangs in the kernel or was lost is
    /// what the watchdog is for.
    pub async fn keep_alive(self, settle: Sender<Input>) {
        let (Some(limit), Some(_)) = (self.watchdog, &self.socket) else { return };
        let mut turns = interval(limit / 3);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let (answer, answered) = oneshot::channel();
            if settle.send(Input::Asked(answer)).is_err() {
                return;
            }
            if timeout(limit, answered).await.is_ok_and(|turned| turned.is_ok()) {
                self.tell("WATCHDOG=1");
            }
        }
    }
}

fn send(socket: &str, message: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // A supervisor whose queue is full must not stop the daemon.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(supervisor: &UnixDatagram) -> String {
        let mut text = [0; 256];
        let length = supervisor.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    fn supervision(socket: &str) -> Supervision {
        Supervision { socket: Some(socket.to_owned()), watchdog: Some(Duration::from_millis(30)) }
    }

    #[test]
    fn a_supervisor_hears_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        supervision(path.to_str().unwrap()).tell("STOPPING=1");
        assert_eq!(told(&by_path), "STOPPING=1");
        let name = format!("ironbridged-test-{}", std::process::id());
        let abstractly = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        supervision(&format!("@{name}")).tell("READY=1");
        assert_eq!(told(&abstractly), "READY=1");
    }

    #[test]
    fn a_watchdog_of_another_process_is_none_of_ours() {
        let read = |pid: Option<&'static str>| {
            Supervision::read(move |name| match name {
                "WATCHDOG_USEC" => Some("20000000"),
                "WATCHDOG_PID" => pid,
                _ => None,
            })
        };
        assert_eq!(read(None).watchdog, Some(Duration::from_secs(20)));
        assert_eq!(read(Some("1")).watchdog, None);
        assert_eq!(Supervision::read(|_| Some("")), Supervision::default());
    }

    #[tokio::test]
    async fn the_watchdog_hears_nothing_from_a_loop_that_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let (inputs, asked) = std::sync::mpsc::channel();
        let keeping = tokio::spawn(supervision(path.to_str().unwrap()).keep_alive(inputs));
        let turning = std::thread::spawn(move || {
            for input in asked.iter().take(3) {
                let Input::Asked(answer) = input else { panic!("{input:?}") };
                answer.send(()).unwrap();
            }
            asked
        });
        let asked = tokio::task::spawn_blocking(move || turning.join().unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        supervisor.set_nonblocking(true).unwrap();
        for _ in 0..3 {
            assert_eq!(told(&supervisor), "WATCHDOG=1");
        }
        assert!(supervisor.recv(&mut [0; 64]).is_err(), "it hangs since");
        drop(asked);
        tokio::time::timeout(Duration::from_secs(5), keeping).await.unwrap().unwrap();
    }
}
