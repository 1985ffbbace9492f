//! A probe through the tunnel at the start: does TCP and UDP arrive where a ping does?
//!
//! Network cards and hypervisors that compute checksums of tunnelled packets wrongly let pings pass and drop everything
//! else (flannel #1279, #1282). The peer needs nothing for it: a closed port of its tunnel end answers.

mod echo;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::settle::Report;

/// `discard`: closed nearly everywhere, and harmless where it is open.
const PORT: u16 = 9;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A peer that has not heard of this node yet gets so many more chances, each with a pause.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelfTest {
    /// The peer's tunnel end that answered, or the last that did not.
    pub peer: IpAddr,
    /// What passed.
    pub verdict: Verdict,
}

/// What passes through the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Pings, TCP and UDP.
    Passed,
    /// Pings and nothing else.
    PingsOnly,
    /// Pings and TCP.
    NoUdp,
    /// Pings and UDP.
    NoTcp,
    /// Nothing.
    Silent,
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let peer = self.peer;
        match self.verdict {
            Verdict::Passed => write!(f, "ping, TCP and UDP reach the tunnel end {peer}"),
            Verdict::PingsOnly => write!(
                f,
                "the tunnel end {peer} answers pings and neither TCP nor UDP: checksums of tunnelled packets are wrong \
                 (switch the offload off on both nodes: `ethtool -K DEVICE tx-checksum-ip-generic off` for the tunnel \
                 device and, if that does not help, for the uplink), or a firewall of that node drops them"
            ),
            Verdict::NoUdp | Verdict::NoTcp => {
                let missing = if self.verdict == Verdict::NoUdp { "UDP" } else { "TCP" };
                write!(f, "the tunnel end {peer} does not answer {missing}: a firewall of that node drops it")
            }
            Verdict::Silent => write!(
                f,
                "the tunnel end {peer} does not answer: that node may be down, or the underlay drops the tunnel's UDP port"
            ),
        }
    }
}

/// Waits for the first peers behind a tunnel, probes, logs the result once and keeps it. A backend without a tunnel
/// has nothing to probe.
pub async fn run(mut reports: watch::Receiver<Report>, result: watch::Sender<Option<SelfTest>>) {
    let ends = loop {
        let report = reports.borrow_and_update().clone();
        if report.settled && !report.ends.is_empty() {
            break report.ends;
        }
        if reports.changed().await.is_err() {
            return;
        }
    };
    let mut found = None;
    for attempt in 0..ATTEMPTS {
        let ends = ends.clone();
        found = tokio::task::spawn_blocking(move || probe_all(&ends)).await.ok().flatten();
        if found.as_ref().is_none_or(|test: &SelfTest| test.verdict != Verdict::Silent)
            || attempt + 1 == ATTEMPTS
        {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    match &found {
        Some(test) if test.verdict == Verdict::Passed => tracing::info!("self-test: {test}"),
        Some(test) => tracing::warn!("self-test: {test}"),
        None => {}
    }
    result.send_replace(found);
}

/// The first peer that answers pings decides: a node that is down says nothing about checksums.
fn probe_all(ends: &[IpAddr]) -> Option<SelfTest> {
    let mut last = None;
    for peer in ends {
        let test = SelfTest { peer: *peer, verdict: probe(*peer) };
        if test.verdict != Verdict::Silent {
            return Some(test);
        }
        last = Some(test);
    }
    last
}

fn probe(peer: IpAddr) -> Verdict {
    let at = SocketAddr::new(peer, PORT);
    match (echo::answers(peer, PATIENCE).unwrap_or(false), tcp(at), udp(at)) {
        (_, true, true) => Verdict::Passed,
        (true, false, false) => Verdict::PingsOnly,
        (_, true, false) => Verdict::NoUdp,
        (_, false, true) => Verdict::NoTcp,
        (false, false, false) => Verdict::Silent,
    }
}

/// An open port and a refusal both are answers; two attempts, since one packet may be lost.
fn tcp(at: SocketAddr) -> bool {
    (0..2).any(|_| is_answer(&TcpStream::connect_timeout(&at, PATIENCE).map(drop)))
}

/// The peer's kernel says that the port is closed, at most once in a while to each host: hence the attempts.
fn udp(at: SocketAddr) -> bool {
    let ask = || -> io::Result<()> {
        let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(at)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"ironbridged self-test")?;
        socket.recv(&mut [0; 64]).map(drop)
    };
    (0..2).any(|_| is_answer(&ask()))
}

fn is_answer(outcome: &io::Result<()>) -> bool {
    outcome.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionRefused, |()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_s_own_closed_port_is_an_answer_in_both_families() {
        for peer in ["127.0.0.1", "::1"] {
            let at = SocketAddr::new(peer.parse().unwrap(), 9);
            assert!(tcp(at) && udp(at), "{peer}");
        }
    }

    #[test]
    fn pings_alone_name_the_offload_and_the_remedy() {
        let found = SelfTest { peer: "10.5.2.0".parse().unwrap(), verdict: Verdict::PingsOnly };
        let text = found.to_string();
        assert!(text.contains("10.5.2.0") && text.contains("tx-checksum-ip-generic off"), "{text}");
    }
}
