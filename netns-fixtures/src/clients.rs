//! Clients that ask without a pause, so that a test can say which requests an event cost.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::space::Space;
use crate::traffic::{tcp_echo, udp_echo};
use crate::wait::eventually;

const PATIENCE: Duration = Duration::from_mins(1);
const ANSWER: Duration = Duration::from_secs(2);

/// Each round asks every server: by a new TCP connection; by a new UDP flow, and by one that goes on.
#[derive(Default)]
pub struct Clients {
    asked: AtomicUsize,
    lost: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub asked: usize,
    /// Those without an answer: which, how, and to whom.
    pub lost: Vec<String>,
}

impl Clients {
    /// Asks [`crate::Echo`] servers while `event` goes on. It begins once all of them have answered.
    #[track_caller]
    pub fn during(
        from: &impl Space,
        (tcp, udp): (&[SocketAddr], &[SocketAddr]),
        event: impl FnOnce(&Self),
    ) -> Tally {
        for to in tcp {
            eventually(&format!("{to} answers"), PATIENCE, || tcp_echo(from, *to).ok());
        }
        for to in udp {
            eventually(&format!("{to} answers"), PATIENCE, || udp_echo(from, *to).ok());
        }
        let clients = Self::default();
        std::thread::scope(|scope| {
            scope.spawn(|| clients.ask(from, tcp, udp));
            // The clients end also when the event fails the test.
            let _stop = Stop(&clients);
            event(&clients);
        });
        let lost = clients.lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        Tally { asked: clients.asked.into_inner(), lost }
    }

    /// How many requests there were so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits until there were so many more.
    #[track_caller]
    pub fn await_more(&self, count: usize) {
        let enough = self.asked() + count;
        eventually("the clients go on asking", PATIENCE, || (self.asked() >= enough).then_some(()));
    }

    fn ask(&self, from: &impl Space, tcp: &[SocketAddr], udp: &[SocketAddr]) {
        let old: Vec<(UdpSocket, SocketAddr)> = udp.iter().map(|to| (flow(from, *to), *to)).collect();
        while !self.stop.load(Ordering::Relaxed) {
            for to in tcp {
                self.count("TCP", *to, tcp_echo(from, *to).map(drop));
            }
            for to in udp {
                self.count("a new UDP flow", *to, udp_echo(from, *to).map(drop));
            }
            for (socket, to) in &old {
                let answer = socket.send(b"who am I?").and_then(|_| socket.recv(&mut [0; 128]));
                self.count("the UDP flow", *to, answer.map(drop));
            }
        }
    }

    fn count(&self, how: &str, to: SocketAddr, outcome: io::Result<()>) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if let Err(error) = outcome {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.push(format!("request {number}, {how} to {to}: {error}"));
        }
    }
}

struct Stop<'c>(&'c Clients);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

fn flow(from: &impl Space, to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.inside(|| UdpSocket::bind(any)).expect("a UDP socket");
    socket.connect(to).expect("a UDP socket has a peer");
    socket.set_read_timeout(Some(ANSWER)).expect("a socket has a timeout");
    socket
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Echo, Protocol, Underlay};

    #[test]
    fn what_is_lost_is_counted_and_named() {
        let world = Underlay::new(2);
        let server = Echo::start(world.node(1), Protocol::Udp, 53);
        let to = [server.at(&world.ipv4(1).to_string())];
        let calm = Clients::during(world.node(0), (&[], &to), |clients| clients.await_more(6));
        assert_eq!(calm.lost, Vec::<String>::new());
        let cut = Clients::during(world.node(0), (&[], &to), |clients| {
            world.unplug(1);
            clients.await_more(2);
            world.plug(1);
        });
        assert!(!cut.lost.is_empty() && cut.lost[0].contains("UDP flow"), "{cut:?}");
    }
}
