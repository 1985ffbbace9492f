//! `firewall` with backend `firewalld`, against a real daemon on a bus of its own in the node's namespace.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netns_fixtures::{
    Answer, Bins, Echo, Invocation, Pod, Process, Protocol, Space, Target, eventually, skip, tcp_echo,
};
use serde_json::{Value, json};
use tests::neighbours::Scene;
use tests::way_back::remember;
use tests::{World, address};

const PROGRAM: &str = "/usr/sbin/firewalld";
const MISMATCH: u64 = 111;
const NOT_AVAILABLE: u64 = 50;

/// A bus and the daemon, in a mount namespace whose `/run` and `/etc/firewalld` are their own.
struct Daemon {
    bus: Process,
    _daemon: Process,
}

impl Daemon {
    fn start(world: &World) -> Self {
        let log = world.state.path().join("firewalld.log");
        let mut bus = Command::new("unshare");
        let script = "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/dbus /run/firewalld && \
                      cp -a /etc/firewalld /run/etc && mount --bind /run/etc /etc/firewalld && \
                      exec dbus-daemon --system --nofork --nopidfile";
        bus.args(["--mount", "sh", "-c", script]);
        let bus = world.host().start(bus, &log);
        let entered = |line: &str| {
            let mut command = Command::new("nsenter");
            command.args(["--mount", "--target", &bus.id().to_string()]).args(line.split(' '));
            command
        };
        let answers = |line: &str| world.host().output(entered(line)).status.success();
        eventually("the bus is there", Duration::from_secs(20), || {
            answers("test -S /run/dbus/system_bus_socket").then_some(())
        });
        let daemon = world.host().start(entered(&format!("{PROGRAM} --nofork --nopid")), &log);
        eventually("firewalld runs", Duration::from_secs(50), || {
            answers("firewall-cmd --state").then_some(())
        });
        Self { bus, _daemon: daemon }
    }

    /// The words that run a program where the bus is.
    fn before(&self) -> Vec<String> {
        ["nsenter", "--mount", "--target", &self.bus.id().to_string()].map(str::to_owned).to_vec()
    }

    /// `firewall-cmd` with these words, and what it printed.
    #[track_caller]
    fn command(&self, world: &World, words: &str) -> String {
        world.host().run(&format!("{} firewall-cmd {words}", self.before().join(" ")))
    }

    /// The sources of the trusted zone.
    fn sources(&self, world: &World) -> String {
        self.command(world, "--zone=trusted --list-sources")
    }

    fn run(&self, (world, pod): (&World, &Pod), verb: &str, request: &Value) -> Answer {
        let before = self.before();
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let target = Target::new("a", &pod.path());
        world.runtime().invocation(verb, &target, request).under(&before).run(world.host())
    }
}

#[test]
fn an_address_is_a_source_of_the_zone_for_as_long_as_the_attachment_lives() {
    if !Path::new(PROGRAM).exists() {
        skip!("firewalld is not installed");
    }
    let world = World::with(Bins::only(&["bridge", "host-local", "firewall"]));
    let network = world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true}));
    let (pod, result) = world.attach(&network, "a");
    let daemon = Daemon::start(&world);
    let echo = Echo::start(world.underlay.hub(), Protocol::Tcp, 80);
    let reaches = || tcp_echo(&pod, echo.at(world.underlay.hub_ip())).is_ok();
    assert!(!reaches(), "firewalld rejects what it forwards for nobody");
    let source = format!("{}/32", address(&result, 0));
    for backend in ["", "firewalld"] {
        let request = json!({
            "type": "firewall", "name": "proving", "cniVersion": "1.1.0", "backend": backend, "prevResult": result,
        });
        let added = daemon.run((&world, &pod), "ADD", &request);
        assert!(added.succeeded(), "{added}");
        assert!(daemon.sources(&world).contains(&source), "{backend:?}");
        assert!(reaches(), "{backend:?}: the zone accepts");
        assert!(daemon.run((&world, &pod), "CHECK", &request).succeeded());
        daemon.command(&world, &format!("--zone=trusted --remove-source={source}"));
        let found = daemon.run((&world, &pod), "CHECK", &request).error();
        assert_eq!(found.code, MISMATCH, "weakness 55: {found:?}");
        assert!(daemon.run((&world, &pod), "ADD", &request).succeeded());
        // Without its result the address is known by its mark.
        let forgotten = tests::merged(request, &json!({"prevResult": null}));
        let deleted = daemon.run((&world, &pod), "DEL", &forgotten);
        assert!(deleted.succeeded(), "{deleted}");
        assert!(!daemon.sources(&world).contains(&source), "{backend:?}");
    }
    let status = json!({
        "type": "firewall", "name": "proving", "cniVersion": "1.1.0", "backend": "", "firewalldZone": "nowhere",
    });
    let refused = daemon.run((&world, &pod), "STATUS", &status).error();
    assert_eq!(refused.code, NOT_AVAILABLE, "{refused:?}");
    assert!(
        refused.msg.contains("firewalld runs on this node") && refused.msg.contains("INVALID_ZONE"),
        "{refused:?}"
    );
}

#[test]
fn a_reload_forgets_sources_of_the_plugin_and_keeps_those_that_are_permanent() {
    if !Path::new(PROGRAM).exists() {
        skip!("firewalld is not installed");
    }
    let mut scene = Scene::new();
    let daemon = Daemon::start(&scene.world);
    scene.under = daemon.before();
    // What was translated, it accepts: published ports are open.
    let rejected = ["across", "node", "out", "out6"];
    assert_eq!(scene.stopped(), rejected);
    for reload in ["--reload", "--complete-reload"] {
        scene.protect(&json!({}));
        assert_eq!((scene.stopped(), scene.missing()), (vec![], vec![]), "the zone accepts");
        daemon.command(&scene.world, reload);
        let lost = (rejected.to_vec(), vec!["firewall".to_owned()]);
        assert_eq!((scene.stopped(), scene.missing()), lost, "{reload}");
    }
    for subnet in ["10.66.0.0/24", "10.67.0.0/24", "fd66::/64", "fd67::/64"] {
        daemon.command(&scene.world, &format!("--permanent --zone=trusted --add-source={subnet}"));
    }
    daemon.command(&scene.world, "--reload");
    assert!(scene.stopped().is_empty(), "the subnets are in the zone");
    // Beside them the plugin does its work as ever.
    scene.protect(&json!({}));
    assert_eq!((scene.stopped(), scene.missing()), (vec![], vec![]));
    daemon.command(&scene.world, "--reload");
    assert!(scene.stopped().is_empty(), "the subnets are still in the zone");
}

/// Accepted by our table, on a node where firewalld runs by the time of the way back: the reference's DEL looks into the
/// zone alone.
#[test]
fn on_the_way_back_addresses_enter_the_zone() {
    if !Path::new(PROGRAM).exists() {
        skip!("firewalld is not installed");
    }
    let world = World { version: "1.0.0", ..World::ours() };
    let network = world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true}));
    let network = network.plugin(json!({"type": "firewall"}));
    let (pod, result) = world.attach(&network, "a");
    let (cache, target) = (world.state.path().join("cache"), Target::new("a", &pod.path()));
    remember(&cache, &network, &target, Some(&result));
    let daemon = Daemon::start(&world);
    let within = daemon.before();
    let within: Vec<&str> = within.iter().map(String::as_str).collect();
    let handback = Invocation::new(&world.bins, "ironbridge");
    let handback = handback.arguments(&["handback", "--cache-dir", &cache.display().to_string()]);
    let answer = handback.under(&within).run(world.host());
    assert!(answer.succeeded(), "{answer}");
    let source = format!("{}/32", address(&result, 0));
    assert!(daemon.sources(&world).contains(&source), "{}", daemon.sources(&world));
    assert!(!world.host().run("nft list ruleset").contains("ironbridge_"));
    let echo = Echo::start(world.underlay.hub(), Protocol::Tcp, 80);
    assert!(tcp_echo(&pod, echo.at(world.underlay.hub_ip())).is_ok(), "the zone accepts");
    let reference = Bins::reference();
    let request = network.request(1, &target, Some(&result));
    let runtime = world.runtime();
    let deleted =
        runtime.swapped(&reference).invocation("DEL", &target, &request).under(&within).run(world.host());
    assert!(deleted.succeeded(), "{deleted}");
    assert!(!daemon.sources(&world).contains(&source), "the reference's DEL takes it out");
}
