//! Pods beside a real Docker, in a namespace, with a container that publishes a port of its own.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use netns_fixtures::{Process, Space, eventually, skip, tcp_echo, within};
use serde_json::json;
use tests::neighbours::{Scene, accept_published_ports};
use tests::ports::at;

const NOTHING: [&str; 0] = [];
/// What a FORWARD policy of DROP in iptables alone stops; Docker leaves ip6tables as it was.
const FORWARDED4: [&str; 3] = ["across", "in", "out"];

/// The control group of its containers, removed with it.
const CGROUP: &str = "ironbridge-test-docker";

/// Where `./test-docker` unpacks Docker's packages.
fn packages() -> Option<PathBuf> {
    std::env::var_os("IRONBRIDGE_DOCKER").map(PathBuf::from)
}

/// `dockerd` with its containerd, in mount and process namespaces that end with it.
struct Docker {
    programs: PathBuf,
    folder: PathBuf,
    daemon: Process,
}

impl Docker {
    fn start(scene: &Scene, programs: &Path) -> Self {
        let folder = scene.world.state.path().join("docker");
        let script = format!(
            "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/etc /run/work && \
             mount -t overlay none -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc && \
             mkdir -p {folder} && rm -rf {folder}/pid {folder}/exec && exec dockerd --data-root {folder}/data \
             --exec-root {folder}/exec --pidfile {folder}/pid -H unix://{folder}/socket --storage-driver vfs \
             --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent {CGROUP}",
            folder = folder.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
        let own = programs.display();
        command.env("PATH", format!("{own}/usr/sbin:{own}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("LD_LIBRARY_PATH", format!("{own}/lib/x86_64-linux-gnu:{own}/usr/lib/x86_64-linux-gnu"));
        let daemon = scene.world.host().start(command, &scene.world.state.path().join("docker.log"));
        let docker = Self { programs: programs.to_owned(), folder, daemon };
        eventually("dockerd answers", Duration::from_secs(90), || {
            docker.output(scene, "version").status.success().then_some(())
        });
        docker
    }

    fn output(&self, scene: &Scene, words: &str) -> Output {
        let mut command = Command::new(self.programs.join("usr/bin/docker"));
        command.arg("-H").arg(format!("unix://{}/socket", self.folder.display())).args(words.split(' '));
        scene.world.host().output(command)
    }

    #[track_caller]
    fn run(&self, scene: &Scene, words: &str) {
        let output = self.output(scene, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {words}: {said}\n{}", self.daemon.log());
    }
}

impl Drop for Docker {
    /// As an administrator ends it: killed, it would leave its processes to whoever collects them.
    fn drop(&mut self) {
        let id = self.daemon.id();
        let child = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        // Each of these is done as well as it can be: the test may be failing already.
        Command::new("kill").args(["-TERM", child.trim()]).status().ok();
        within(Duration::from_mins(1), || (!self.daemon.is_running()).then_some(()));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            fs::remove_dir(hierarchy.path().join(CGROUP)).ok();
        }
        fs::remove_dir(Path::new("/sys/fs/cgroup").join(CGROUP)).ok();
    }
}

fn policy(scene: &Scene) -> String {
    scene.world.host().run("iptables -S FORWARD").lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_port_that_docker_publishes_is_dockers_and_no_pod_loses_anything_else() {
    let Some(programs) = packages() else {
        skip!("Docker is there in ./test-docker alone");
    };
    let scene = Scene::new();
    let docker = Docker::start(&scene, &programs);
    assert_eq!(policy(&scene), "-P FORWARD ACCEPT", "the pods' bridge had switched forwarding on");
    assert_eq!((scene.stopped(), scene.missing()), (vec![], vec![]));
    let image = scene.world.state.path().join("image");
    fs::create_dir_all(image.join("bin")).unwrap();
    fs::copy(programs.join("bin/busybox"), image.join("bin/busybox")).unwrap();
    scene.world.host().run(&format!("tar -C {0} -cf {0}.tar .", image.display()));
    docker.run(&scene, &format!("import {}.tar web", image.display()));
    docker.run(&scene, "run -d --name web -p 8080:80 web /bin/busybox httpd -f -p 80");
    let answer = eventually("Docker's container answers", Duration::from_secs(30), || {
        let from_outside = tcp_echo(scene.world.underlay.hub(), at("192.168.50.1", 8080));
        from_outside.err().filter(|error| error.kind() == ErrorKind::InvalidData)
    });
    assert!(answer.to_string().contains("HTTP/1"), "{answer}");
    // Not by IPv6 nor by 127.0.0.1: there Docker has its proxy only, and a translation comes before a socket.
    assert_eq!((scene.stopped(), scene.missing()), (vec!["in"], vec![]));
    docker.run(&scene, "rm -f web");
    assert_eq!(scene.stopped(), NOTHING);
}

#[test]
fn a_docker_that_was_there_first_drops_until_docker_user_or_the_firewall_plugin_accepts() {
    let Some(programs) = packages() else {
        skip!("Docker is there in ./test-docker alone");
    };
    let mut scene = Scene::new();
    // As on a node that has no pods yet.
    scene.world.host().set_sysctl("net/ipv4/ip_forward", "0");
    let docker = Docker::start(&scene, &programs);
    assert_eq!(policy(&scene), "-P FORWARD DROP");
    assert_eq!((scene.stopped(), scene.missing()), (FORWARDED4.to_vec(), vec![]));
    for way in ["-i cni0", "-o cni0", "-i cni1", "-o cni1"] {
        scene.world.host().run(&format!("iptables -I DOCKER-USER {way} -j ACCEPT"));
    }
    assert_eq!(scene.stopped(), NOTHING);
    drop(docker);
    let docker = Docker::start(&scene, &programs);
    assert_eq!(scene.stopped(), NOTHING, "a restart leaves DOCKER-USER alone");
    scene.world.host().run("iptables -F DOCKER-USER");
    assert_eq!(scene.stopped(), FORWARDED4);
    scene.protect(&json!({}));
    assert_eq!((scene.stopped(), scene.missing()), (vec!["in"], vec![]));
    accept_published_ports(&scene.world, ["iptables", "ip6tables"]);
    drop(docker);
    let _docker = Docker::start(&scene, &programs);
    assert_eq!(policy(&scene), "-P FORWARD DROP");
    assert_eq!((scene.stopped(), scene.missing()), (vec![], vec![]), "a restart leaves CNI-FORWARD alone");
}
