//! The udp backend on the wire: a peer that is nothing but a socket speaks flannel's frames, rightly and wrongly.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use netns_fixtures::{Daemon, Etcd, Node, Space, needs};
use tests::cluster::{Attached, Cluster, SOON, await_that, counted, leases_prefix, options, readyz};

const UDP: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"udp"}}"#;
/// Where node 0 listens.
const TO: &str = "192.168.50.1:8285";
/// A pod of the peer.
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 244, 77, 5);

/// A node with a daemon and a pod, and a peer without either.
struct Wire<'w> {
    cluster: &'w Cluster,
    etcd: &'w Etcd<'w>,
    _daemon: Daemon<'w>,
    pod: Attached,
    peer: UdpSocket,
    /// In the pod.
    inner: UdpSocket,
}

fn bound(space: &impl Space, at: &str) -> UdpSocket {
    let socket = space.inside(|| UdpSocket::bind(at)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

fn lease(etcd: &Etcd, third: u8, (host, rest): (&str, &str)) {
    let value = format!(r#"{{"PublicIP":"{host}","PublicIPv6":null{rest}}}"#);
    etcd.put(&format!("{}10.244.{third}.0-24", leases_prefix()), &value);
}

impl<'w> Wire<'w> {
    fn new(cluster: &'w Cluster, etcd: &'w Etcd<'w>) -> Self {
        let daemon = Daemon::ready(cluster.node(0), options(etcd));
        let pod = cluster.attach(0, &daemon, "pod");
        lease(etcd, 77, ("192.168.50.2", ""));
        await_that("the peer is known", || readyz(cluster.node(0)).1["routes"] == 1);
        let (peer, inner) = (bound(cluster.node(1), "192.168.50.2:8285"), bound(&pod.pod, "0.0.0.0:7000"));
        Self { cluster, etcd, _daemon: daemon, pod, peer, inner }
    }

    fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// A stranger on the underlay, who has the right port.
    fn stranger(&self) -> UdpSocket {
        bound(self.cluster.underlay.hub(), "192.168.50.254:8285")
    }

    fn ours(&self) -> Ipv4Addr {
        self.pod.ip().parse().unwrap()
    }

    /// The first address of our subnet.
    fn our_end(&self) -> Ipv4Addr {
        (self.ours().to_bits() & !0xff).into()
    }

    /// The next frame for the peer's pod; the daemon's self-test asks for the tunnel end.
    #[track_caller]
    fn hears(&self, frame: &mut [u8]) -> (usize, SocketAddr) {
        loop {
            let (length, from) = self.peer.recv_from(frame).unwrap();
            if frame[16..20] == THEIRS.octets() {
                return (length, from);
            }
        }
    }

    #[track_caller]
    fn arrives(&self, text: &[u8]) {
        let mut bytes = vec![0; 65_000];
        let (length, from) = self.inner.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from.ip()), (text, IpAddr::V4(THEIRS)));
    }
}

/// An IPv4 packet around a UDP datagram, without that one's checksum.
fn packet((source, destination): (Ipv4Addr, Ipv4Addr), ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut bytes = vec![0x45, 0, 0, 0, 0, 9, 0, 0, ttl, 17, 0, 0];
    bytes[2..4].copy_from_slice(&(length + 28).to_be_bytes());
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    let sum = !sum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend([7000, 7000, length + 8, 0].iter().flat_map(|word: &u16| word.to_be_bytes()));
    bytes.extend(payload);
    bytes
}

/// The ones' complement sum.
fn sum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|p| u32::from(u16::from_be_bytes([p[0], p[1]]))).sum();
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

#[test]
fn a_node_that_speaks_flannels_frames_is_understood_and_is_spoken_to_in_them() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let wire = Wire::new(&cluster, &etcd);
    wire.inner.send_to(b"from a pod", (THEIRS, 7000)).unwrap();
    let mut frame = [0; 2000];
    let (length, from) = wire.hears(&mut frame);
    assert_eq!((from.to_string().as_str(), length), (TO, 38));
    assert_eq!((frame[0], frame[8], frame[9], sum(&frame[..20])), (0x45, 62, 17, 0xffff), "two hops less");
    assert_eq!((&frame[12..16], &frame[16..20]), (&wire.ours().octets()[..], &THEIRS.octets()[..]));
    assert_eq!(&frame[28..38], b"from a pod");
    wire.peer.send_to(&packet((THEIRS, wire.ours()), 9, b"from a peer"), TO).unwrap();
    wire.arrives(b"from a peer");
    // From a node whose uplink has a larger MTU.
    let large = vec![7; 20_000];
    wire.peer.send_to(&packet((THEIRS, wire.ours()), 9, &large), TO).unwrap();
    wire.arrives(&large);
    wire.peer.send_to(&packet((THEIRS, wire.ours()), 1, b"its time is over"), TO).unwrap();
    let (length, _) = wire.hears(&mut frame);
    assert_eq!((frame[9], frame[20], length), (1, 11, 20 + 8 + 28), "time exceeded");
    assert_eq!((&frame[12..16], &frame[16..20]), (&wire.our_end().octets()[..], &THEIRS.octets()[..]));
}

#[test]
fn frames_of_strangers_and_broken_and_lying_ones_are_lost_and_counted_and_harm_nobody() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let wire = Wire::new(&cluster, &etcd);
    let (stranger, ours, peer) = (wire.stranger(), wire.ours(), &wire.peer);
    let good = packet((THEIRS, ours), 9, b"from a peer");
    let mut wrong_checksum = good.clone();
    wrong_checksum[10] ^= 1;
    let with = |pair: (Ipv4Addr, Ipv4Addr)| packet(pair, 9, b"with wrong addresses");
    let hostile = [
        ("unknown_node", &stranger, good.clone()),
        ("short", peer, Vec::new()),
        ("short", peer, good[..19].to_vec()),
        ("malformed", peer, good[..30].to_vec()),
        ("malformed", peer, [&[0x65], &good[1..]].concat()),
        ("malformed", peer, wrong_checksum),
        ("foreign_destination", peer, with((THEIRS, Ipv4Addr::new(10, 244, 200, 1)))),
        ("foreign_destination", peer, with((THEIRS, Ipv4Addr::new(192, 168, 50, 1)))),
        ("foreign_source", peer, with((wire.our_end(), ours))),
        ("foreign_source", peer, with((Ipv4Addr::LOCALHOST, ours))),
        ("expired", peer, packet((THEIRS, ours), 1, b"x")),
    ];
    for (reason, from, bytes) in hostile {
        let lost = || counted(wire.node(), &format!("lost_packets_total{{reason=\"{reason}\"}}"));
        let before = lost();
        from.send_to(&bytes, TO).unwrap();
        await_that(&format!("{reason} is counted"), || lost() == before + 1);
    }
    wire.peer.send_to(&with((Ipv4Addr::new(192, 168, 50, 1), ours)), TO).unwrap();
    // Of all that nothing came to the pod, and what is good still does.
    wire.peer.send_to(&packet((THEIRS, ours), 9, b"the end"), TO).unwrap();
    wire.arrives(b"the end");
}

#[test]
fn the_table_follows_leases_and_nodes_of_another_backend_are_named_ignored_and_counted() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let wire = Wire::new(&cluster, &etcd);
    lease(&etcd, 78, ("192.168.50.3", r#","BackendType":"vxlan""#));
    await_that("the other one is counted", || readyz(wire.node()).1["other_backends"] == 1);
    let problems = readyz(wire.node()).1["problems"].to_string();
    assert!(problems.contains(r#"its backend is \"vxlan\", this network's is udp"#), "{problems}");
    let stranger = wire.stranger();
    stranger.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let is_heard = || {
        wire.inner.send_to(b"to whom", (THEIRS, 7000)).unwrap();
        stranger.recv(&mut [0; 100]).is_ok()
    };
    assert!(!is_heard());
    lease(&etcd, 77, ("192.168.50.254", ""));
    await_that("frames go to the new address", is_heard);
    let carried = counted(wire.node(), "objects_desired{kind=\"carried\"}");
    assert_eq!(carried, 1);
    wire.etcd.ctl(&["del", &format!("{}10.244.77.0-24", leases_prefix())]);
    await_that("and then nowhere", || !is_heard());
    await_that("it is forgotten", || readyz(wire.node()).1["routes"] == 0);
}
