//! Pods beside a real ufw, in a namespace, with a copy of its configuration.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netns_fixtures::{Process, Space, eventually, skip};
use serde_json::json;
use tests::neighbours::{Scene, accept_published_ports};

const PROGRAM: &str = "/usr/sbin/ufw";
const NOTHING: [&str; 0] = [];
/// What ufw stops as it comes: all that is forwarded, and what pods want of the node.
const DEFAULT: [&str; 6] = ["across", "in", "in6", "node", "out", "out6"];

/// A mount namespace in which `/etc/ufw` is the test's.
struct Ufw {
    holder: Process,
}

impl Ufw {
    fn new(scene: &Scene) -> Self {
        let own = scene.world.state.path().join("ufw");
        let script = format!(
            "mount --make-rprivate / && mkdir {own} && cp -a /etc/ufw {own}/etc && cp -a /etc/default/ufw {own}/default && \
             mount --bind {own}/etc /etc/ufw && mount --bind {own}/default /etc/default/ufw && \
             mount -t tmpfs none /run && touch {own}/ready && exec sleep infinity",
            own = own.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let holder = scene.world.host().start(command, &scene.world.state.path().join("ufw.log"));
        eventually("ufw's configuration is copied", Duration::from_secs(20), || {
            own.join("ready").exists().then_some(())
        });
        Self { holder }
    }

    #[track_caller]
    fn run(&self, scene: &Scene, words: &str) {
        scene.world.host().run(&format!("nsenter --mount --target {} {PROGRAM} {words}", self.holder.id()));
    }
}

#[test]
fn routes_that_ufw_allows_pass_and_survive_its_reload() {
    if !Path::new(PROGRAM).exists() {
        skip!("ufw is not installed");
    }
    let scene = Scene::new();
    let ufw = Ufw::new(&scene);
    ufw.run(&scene, "--force enable");
    assert_eq!((scene.stopped(), scene.missing()), (DEFAULT.to_vec(), vec![]));
    ufw.run(&scene, "default allow routed");
    assert_eq!(scene.stopped(), ["node"]);
    ufw.run(&scene, "default deny routed");
    ufw.run(&scene, "allow 8080/tcp");
    assert_eq!(scene.stopped(), DEFAULT, "a published port is forwarded, and this is about input");
    for bridge in ["cni0", "cni1"] {
        ufw.run(&scene, &format!("route allow in on {bridge}"));
    }
    assert_eq!(scene.stopped(), ["in", "in6", "node"]);
    ufw.run(&scene, "route allow proto tcp to 10.66.0.0/24 port 80");
    assert_eq!(scene.stopped(), ["in6", "node"], "the port is the pod's own: it is translated already");
    ufw.run(&scene, "route allow out on cni0");
    assert_eq!(scene.stopped(), ["node"]);
    ufw.run(&scene, "allow in on cni0");
    assert_eq!(scene.stopped(), NOTHING);
    ufw.run(&scene, "reload");
    assert_eq!((scene.stopped(), scene.missing()), (vec![], vec![]));
}

#[test]
fn the_firewall_plugin_and_ufw_live_together_through_reloads() {
    if !Path::new(PROGRAM).exists() {
        skip!("ufw is not installed");
    }
    let mut scene = Scene::new();
    let ufw = Ufw::new(&scene);
    ufw.run(&scene, "--force enable");
    scene.protect(&json!({}));
    accept_published_ports(&scene.world, ["iptables", "ip6tables"]);
    assert_eq!((scene.stopped(), scene.missing()), (vec!["node"], vec![]));
    ufw.run(&scene, "reload");
    assert_eq!((scene.stopped(), scene.missing()), (vec!["node"], vec![]));
    ufw.run(&scene, "default allow routed");
    ufw.run(&scene, "disable");
    assert_eq!((scene.stopped(), scene.missing()), (vec![], vec![]));
    ufw.run(&scene, "--force enable");
    assert_eq!((scene.stopped(), scene.missing()), (vec!["node"], vec![]));
}
