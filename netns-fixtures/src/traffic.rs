//! Real traffic as the verdict: ping, and TCP and UDP servers that answer with the address they saw.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::space::{Space, words};
use crate::wait::{eventually, within};

const ANSWER: Duration = Duration::from_secs(2);
const SETTLES: Duration = Duration::from_secs(10);

/// What carries the echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One connection an answer.
    Tcp,
    /// One datagram an answer.
    Udp,
}

/// One ICMP echo: whether the answer came within a second.
pub fn ping(from: &impl Space, to: IpAddr) -> bool {
    from.output(words(&format!("ping -n -c 1 -W 1 {to}"))).status.success()
}

/// The address answers a ping, at the latest after a few seconds.
#[track_caller]
pub fn assert_ping(from: &impl Space, to: &str) {
    let to: IpAddr = to.parse().expect("an address");
    if within(SETTLES, || ping(from, to).then_some(())).is_none() {
        let seen = from.output(words("ip address show"));
        let routes = from.output(words("ip route show table all"));
        panic!(
            "{to} does not answer a ping from here:\n{}{}",
            String::from_utf8_lossy(&seen.stdout),
            String::from_utf8_lossy(&routes.stdout)
        );
    }
}

/// The address does not answer a ping.
#[track_caller]
pub fn assert_blocked(from: &impl Space, to: &str) {
    let to: IpAddr = to.parse().expect("an address");
    assert!(!ping(from, to), "{to} answers a ping, and should not");
}

/// A server inside a namespace, for both families, that answers each client with the client's own address as it saw it.
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    port: u16,
}

impl Echo {
    /// Listens on every address of the namespace.
    #[must_use]
    pub fn start(space: &impl Space, protocol: Protocol, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let any = format!("[::]:{port}");
        let thread = match protocol {
            Protocol::Tcp => {
                let listener = space.inside(|| bound("TCP", || TcpListener::bind(&any)));
                std::thread::spawn(move || serve_tcp(&listener, &flag))
            }
            Protocol::Udp => {
                let socket = space.inside(|| bound("UDP", || UdpSocket::bind(&any)));
                std::thread::spawn(move || serve_udp(&socket, &flag))
            }
        };
        Self { stop, thread: Some(thread), port }
    }

    /// Where to reach it at `ip`.
    #[must_use]
    pub fn at(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), self.port)
    }
}

/// A server's socket. A process that another thread starts holds what was open at its fork until its exec, so a port may
/// be taken for a moment by the server before.
fn bound<S>(what: &str, bind: impl Fn() -> io::Result<S>) -> S {
    eventually(&format!("the port of a {what} server is free"), ANSWER, || match bind() {
        Err(busy) if busy.kind() == ErrorKind::AddrInUse => None,
        tried => Some(tried.expect("a server starts")),
    })
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked has already made its client fail.
            thread.join().ok();
        }
    }
}

/// Connects, sends, and returns the address that the server saw.
pub fn tcp_echo(from: &impl Space, to: SocketAddr) -> io::Result<IpAddr> {
    from.inside(|| {
        let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"who am I?")?;
        stream.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        parse(&text)
    })
}

/// Sends one datagram and returns the address that the server saw.
pub fn udp_echo(from: &impl Space, to: SocketAddr) -> io::Result<IpAddr> {
    from.inside(|| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.send(b"who am I?")?;
        let mut buffer = [0; 128];
        let length = socket.recv(&mut buffer)?;
        parse(&String::from_utf8_lossy(&buffer[..length]))
    })
}

fn parse(text: &str) -> io::Result<IpAddr> {
    text.parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("not an address: {text:?}")))
}

/// Waits for work; false when the server is to stop.
fn ready(socket: &impl AsFd, stop: &AtomicBool) -> bool {
    while !stop.load(Ordering::Relaxed) {
        let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut sockets, PollTimeout::from(50_u8)).is_ok_and(|count| count > 0) {
            return true;
        }
    }
    false
}

fn serve_tcp(listener: &TcpListener, stop: &AtomicBool) {
    while ready(listener, stop) {
        let Ok((stream, peer)) = listener.accept() else { continue };
        // A client that went away is the client's affair: it has seen its own error.
        answer(stream, peer).ok();
    }
}

fn answer(mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER))?;
    let mut asked = Vec::new();
    stream.read_to_end(&mut asked)?;
    stream.write_all(peer.ip().to_canonical().to_string().as_bytes())
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 128];
    while ready(socket, stop) {
        let Ok((_, peer)) = socket.recv_from(&mut buffer) else { continue };
        // As above: the client's time-out tells.
        socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer).ok();
    }
}
