//! Networks with limits, and the rates that are measured on them.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netns_fixtures::{Bins, Network, Space};
use serde_json::{Value, json};

use crate::World;

/// Time for TCP to find the rate, and the time that is measured.
const SETTLES: Duration = Duration::from_millis(700);
const MEASURED: Duration = Duration::from_millis(2_500);
/// A node with the plugins of such networks, as `cargo build` makes them.
pub fn world() -> World {
    World::with(Bins::only(&["bridge", "host-local", "bandwidth"]))
}

/// A bridge, and `bandwidth` behind it with these keys.
pub fn network(world: &World, limits: &Value) -> Network {
    let mut bandwidth = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    for (key, value) in limits.as_object().expect("an object") {
        bandwidth[key] = value.clone();
    }
    world.bridge(&json!({"isDefaultGateway": true})).plugin(bandwidth)
}

/// The same limit in both directions.
pub fn both(bits: u64) -> Value {
    json!({"ingressRate": bits, "ingressBurst": 400_000, "egressRate": bits, "egressBurst": 400_000})
}

/// Bits a second that arrive from `from` at the address `to` of `at`, sent from address `source`.
pub fn measured(from: &impl Space, to: (&impl Space, &str), source: &str) -> f64 {
    measured_after(SETTLES, from, to, source)
}

/// The same, counted once `settles` has passed.
pub fn measured_after(
    settles: Duration,
    from: &impl Space,
    (at, to): (&impl Space, &str),
    source: &str,
) -> f64 {
    let to: IpAddr = to.parse().unwrap();
    let listener = at.inside(|| TcpListener::bind(SocketAddr::new(to, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let source: IpAddr = source.parse().unwrap();
    let sender = from.inside(|| connect_from(source, target));
    let sending = std::thread::spawn(move || {
        let (mut sender, block) = (sender, vec![0; 64 * 1024]);
        // Ends when the receiver hangs up.
        while sender.write_all(&block).is_ok() {}
    });
    let (mut stream, _) = listener.accept().unwrap();
    let (mut buffer, started) = (vec![0; 256 * 1024], Instant::now());
    let mut bytes = 0_usize;
    while started.elapsed() < settles {
        bytes += stream.read(&mut buffer).unwrap();
    }
    assert!(settles.is_zero() || bytes > 0, "nothing came through before the count");
    let counting = Instant::now();
    bytes = 0;
    while counting.elapsed() < MEASURED {
        bytes += stream.read(&mut buffer).unwrap();
    }
    let seconds = counting.elapsed().as_secs_f64();
    drop(stream);
    sending.join().unwrap();
    f64::from(u32::try_from(bytes / 1000).unwrap()) * 8_000.0 / seconds
}

/// A connection whose own address is chosen by a route: the standard library cannot bind before it connects.
fn connect_from(source: IpAddr, target: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(target).unwrap();
    assert_eq!(stream.local_addr().unwrap().ip(), source, "the route chooses the source");
    stream
}

fn is_rate(found: f64, wanted: u32) -> bool {
    let wanted = f64::from(wanted);
    (0.90 * wanted..1.10 * wanted).contains(&found)
}

/// Within a tenth of the limit. A busy machine may keep the sender from its share of the processor, but not three times.
#[track_caller]
pub fn assert_rate(measure: impl Fn() -> f64, wanted: u32, what: &str) {
    let mut found = Vec::new();
    while found.len() < 3 {
        found.push(measure());
        if found.iter().any(|found| is_rate(*found, wanted)) {
            return;
        }
    }
    panic!("{what}: {found:.0?} bits a second in place of {wanted}");
}

/// The devices that hold what comes out of containers.
pub fn ifbs(world: &World) -> Vec<String> {
    world
        .host()
        .link_names()
        .into_iter()
        .filter(|name| name.starts_with("ibw") || name.starts_with("bwp"))
        .collect()
}
