//! What a connection's first packet takes through a published port: at 10 published ports and at 10,000.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use netns_fixtures::{Echo, Node, Pod, Protocol, Space};
use serde_json::{Value, json};

use super::chain::publishing;
use super::{bridge, ipam, with};
use crate::contender::Contender;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::series::Series;
use crate::site::Site;

const ROUNDS: usize = 2_000;
/// Requests before any is counted: neighbours are found, caches warm.
const WARM: usize = 50;
/// Published ports of a pod, and the first of them. Requests are made to those of the first pod.
const FEW: u16 = 10;
const MANY: u16 = 100;
const FIRST_PORT: u16 = 10_000;
/// Where the pods' servers listen.
const INSIDE: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(2);

/// A UDP request of a new socket each time, and its answer, from another host through the node's address.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let few = Town::new(programs, "few", (1, FEW))?;
    let many = Town::new(programs, "many", (100, MANY))?;
    let (mut at_few, mut at_many) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds(ROUNDS) + WARM {
        let took = [few.request(round)?, many.request(round)?];
        if round >= WARM {
            at_few.push(took[0]);
            at_many.push(took[1]);
        }
    }
    let figure =
        Figure::new("first packet at 10,000 published ports", Measure::Microseconds, &Series::of(at_many));
    Ok(vec![figure.least("at 10 ports", &Series::of(at_few), 1.2)])
}

/// A node with pods whose ports are published by our plugins, and a host beside it.
struct Town {
    client: Node,
    ports: u16,
    _server: Echo,
    _pods: Vec<Pod>,
    _site: Site,
}

impl Town {
    fn new(programs: &Programs, name: &str, (pods, ports): (u16, u16)) -> Result<Self, Error> {
        let site = Site::new();
        let client = Node::new("client");
        let peer = client.path();
        site.node().run(&format!("ip link add pfout type veth peer name pfin netns {peer}"));
        site.node().run("ip address add 10.88.0.1/24 dev pfout");
        site.node().run("ip link set pfout up");
        site.node().set_sysctl("net/ipv4/ip_forward", "1");
        client.run("ip address add 10.88.0.2/24 dev pfin");
        client.run("ip link set pfin up");
        let all = Site::pods(usize::from(pods));
        let network = bridge(&ipam(programs, Side::Ours, name, &["10.77.0.0/16"]));
        let network = with(network, &json!({"ipMasq": true}));
        site.node().inside(|| {
            for (number, pod) in (0..pods).zip(&all) {
                let portmap = publishing(&mappings(FIRST_PORT + number * ports, ports));
                Contender::new(programs, Side::Ours, "bridge", &network)
                    .then(programs, ("portmap", &portmap), Side::Ours)
                    .add(usize::from(number), &pod.path())?;
            }
            Ok::<_, Error>(())
        })?;
        let server = all.first().map(|pod| Echo::start(pod, Protocol::Udp, INSIDE));
        let server =
            server.ok_or_else(|| Error::Answer { program: name.to_owned(), answer: String::new() })?;
        Ok(Self { client, ports, _server: server, _pods: all, _site: site })
    }

    /// Microseconds from a request to its answer; each socket has a port of its own, so that nothing is tracked yet.
    fn request(&self, round: usize) -> Result<f64, Error> {
        let port = FIRST_PORT + u16::try_from(round % usize::from(self.ports)).unwrap_or(0);
        let to = SocketAddr::from((Ipv4Addr::new(10, 88, 0, 1), port));
        let took = self.client.inside(|| exchange(to));
        took.map_err(|error| Error::Answer { program: to.to_string(), answer: error.to_string() })
    }
}

fn mappings(first: u16, count: u16) -> Value {
    let mapping = |port| json!({"hostPort": port, "containerPort": INSIDE, "protocol": "udp"});
    (first..first + count).map(mapping).collect()
}

fn exchange(to: SocketAddr) -> io::Result<f64> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    let mut answer = [0; 128];
    let began = Instant::now();
    socket.send(b"who am I?")?;
    socket.recv(&mut answer)?;
    Ok(began.elapsed().as_secs_f64() * 1e6)
}
