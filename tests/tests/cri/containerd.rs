//! A node whose pods a real containerd makes, in mount and process namespaces that end with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use netns_fixtures::{Bins, Network, Pod, Process, REFERENCE_DIR, Snapshot, Space, eventually, within};
use serde_json::Value;
use tests::{World, files_below};

use super::{Cri, Wanted, image};

const PAGE: &str = include_str!("../../../docs/containerd.md");

/// For a machine that does many other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where `./test-containerd` unpacks the packages.
pub fn packages() -> Option<PathBuf> {
    std::env::var_os("IRONBRIDGE_CONTAINERD").map(PathBuf::from)
}

/// A node with containerd. The namespaces live as long as their first process, which is not containerd: pods outlive it.
pub struct Containerd {
    pub world: World,
    packages: PathBuf,
    folder: PathBuf,
    cgroup: String,
    spaces: Process,
    daemon: Option<Process>,
}

/// A pod that containerd made: its namespace, and what containerd says of it.
pub struct Sandbox {
    pub id: String,
    pub pod: Pod,
    pub addresses: Vec<String>,
    /// Its namespace as containerd names it.
    pub netns: String,
    process: u64,
}

impl Containerd {
    /// With our plugins in its directory and one list.
    pub fn start(packages: &Path, list: &Network) -> Self {
        let node = Self::without_list(packages);
        node.configure(list);
        eventually("containerd has read the list", PATIENCE, || {
            node.cri().condition("NetworkReady").is_ok_and(|(ready, _)| ready).then_some(())
        });
        node
    }

    /// With our plugins in its directory and no list yet.
    pub fn without_list(packages: &Path) -> Self {
        let world = World::ours();
        let folder = world.state.path().join("containerd");
        for part in ["run", "cni", "bin", "net.d"] {
            fs::create_dir_all(folder.join(part)).expect("a directory");
        }
        let script = format!(
            "mount --make-rprivate / && mkdir -p /var/lib/cni && mount --bind {0}/cni /var/lib/cni && \
             mount --bind {0}/run /run && touch {0}/mounted; sleep infinity & wait",
            folder.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
        let spaces = world.host().start(command, &folder.join("spaces.log"));
        let name = world.state.path().file_name().expect("a directory has a name").to_string_lossy();
        let cgroup = format!("ironbridge-test-containerd-{}", name.trim_start_matches('.'));
        let packages = packages.to_owned();
        let mut node = Self { world, packages, folder, cgroup, spaces, daemon: None };
        eventually("containerd's mounts", PATIENCE, || {
            fs::exists(node.folder.join("mounted")).unwrap_or_default().then_some(())
        });
        node.install_ours();
        node.run_daemon();
        node.import();
        node
    }

    pub fn cri(&self) -> Cri {
        Cri::new(self.folder.join("socket"))
    }

    /// What an administrator does: `ironbridge install`.
    pub fn install_ours(&self) {
        let output = Command::new(Bins::command()).arg("install").arg(self.folder.join("bin")).output();
        assert!(output.is_ok_and(|output| output.status.success()), "ironbridge install");
    }

    /// The files of the reference's package, put over those that are there.
    pub fn install_reference(&self) {
        let copied = Command::new("cp")
            .args(["--remove-destination", "-r", "-T", REFERENCE_DIR])
            .arg(self.folder.join("bin"))
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "cp from {REFERENCE_DIR}");
    }

    /// Puts a script in front of a plugin that notes each call's verb and namespace.
    pub fn record_calls(&self, plugin: &str) {
        let (bin, kept) = (self.folder.join("bin"), self.folder.join("recorded"));
        fs::create_dir_all(&kept).expect("a directory");
        fs::rename(bin.join(plugin), kept.join(plugin)).expect("a plugin can be moved");
        let script = format!(
            "#!/bin/sh\necho \"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS\" >> {0}/calls\nexec {0}/{plugin}\n",
            kept.display()
        );
        fs::write(bin.join(plugin), script).expect("a script can be written");
        self.world.host().run(&format!("chmod 755 {}", bin.join(plugin).display()));
    }

    /// The calls of one sandbox so far, each a verb and a namespace.
    pub fn calls(&self, id: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.join("recorded/calls")).unwrap_or_default();
        let own = calls.lines().filter(|line| line.contains(id));
        own.map(|line| line.replace(&format!(" {id}"), "").trim().to_owned()).collect()
    }

    pub fn configure(&self, network: &Network) {
        fs::write(self.folder.join("net.d/10-test.conflist"), network.conflist()).expect("a file");
    }

    /// A file below `/run` as containerd and its plugins see it.
    pub fn write_run(&self, name: &str, text: &str) {
        let path = self.folder.join("run").join(name);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub fn wanted(&self, name: &str) -> Wanted {
        Wanted::new(name, &self.cgroup)
    }

    /// Runs a sandbox; the test fails with what containerd says if that fails.
    #[track_caller]
    pub fn sandbox(&self, wanted: Wanted) -> Sandbox {
        let id = match self.cri().run(wanted) {
            Ok(id) => id,
            Err(status) => panic!("RunPodSandbox: {status}\n{}", self.log()),
        };
        let told = self.cri().sandbox(&id).expect("PodSandboxStatus");
        assert!(told.is_ready, "a sandbox that was just started is ready");
        // `/var/run` is a link that would lead out of there.
        let inner = told.netns.trim_start_matches("/var");
        let seen = format!("/proc/{}/root{inner}", self.first_process());
        let pod = Pod::at(Path::new(&seen));
        Sandbox { id, pod, addresses: told.addresses, netns: told.netns, process: told.process }
    }

    /// Stops and removes a sandbox, as the kubelet does.
    #[track_caller]
    pub fn end(&self, id: &str) {
        let stopped = self.cri().stop(id);
        assert!(stopped.is_ok(), "StopPodSandbox: {stopped:?}\n{}", self.log());
        let removed = self.cri().remove(id);
        assert!(removed.is_ok(), "RemovePodSandbox: {removed:?}\n{}", self.log());
    }

    /// A sandbox that comes and goes, so that what sandboxes share is there.
    #[track_caller]
    pub fn warm(&self) {
        let wanted = self.wanted("warm").published(8999, 99).limited("10M", "20M");
        self.end(&self.sandbox(wanted).id);
    }

    /// The state of the node, and every file that CNI keeps on it but the index of our `host-local`, which stays.
    pub fn state(&self) -> (Snapshot, Vec<String>) {
        let kept = ["cni", "run/cni"].iter().flat_map(|part| files_below(&self.folder.join(part)));
        (self.world.snapshot(), kept.filter(|file| !file.contains("/.ironbridge/")).collect())
    }

    /// Runs a program on the node as containerd sees its files.
    pub fn output(&self, words: &[&str]) -> Output {
        let mut command = self.entering();
        command.args(words);
        self.world.host().output(command)
    }

    /// SIGKILL to containerd alone.
    pub fn kill_daemon(&mut self) {
        let mut entered = self.daemon.take().expect("containerd runs");
        signal("KILL", child(entered.id()));
        entered.wait(PATIENCE);
    }

    /// Starts containerd, and waits until it answers.
    pub fn run_daemon(&mut self) {
        let config = self.folder.join("config.toml");
        fs::write(&config, self.config()).expect("a file");
        let mut command = self.entering();
        command.arg("containerd").arg("--config").arg(config);
        self.own_programs(&mut command);
        self.daemon = Some(self.world.host().start(command, &self.folder.join("log")));
        eventually(&format!("containerd answers; {}", self.log()), PATIENCE, || {
            self.cri().condition("RuntimeReady").is_ok_and(|(ready, _)| ready).then_some(())
        });
    }

    /// Kills a sandbox's process, and waits until containerd has seen it.
    pub fn kill(&self, sandbox: &Sandbox) {
        assert!(self.output(&["kill", "-KILL", &sandbox.process.to_string()]).status.success());
        eventually("containerd sees the end of a sandbox", PATIENCE, || {
            self.cri().sandbox(&sandbox.id).is_ok_and(|told| !told.is_ready).then_some(())
        });
    }

    /// Ends a sandbox's process and takes its namespace away, as a restart of the machine does; returns its ID.
    pub fn lose(&self, sandbox: Sandbox) -> String {
        self.kill(&sandbox);
        // While the test holds the namespace, it is not gone.
        drop(sandbox.pod);
        for program in ["umount", "rm"] {
            let output = self.output(&[program, &sandbox.netns]);
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
        sandbox.id
    }

    fn import(&self) {
        let archive = image::write(&self.folder.join("image"), &self.packages.join("bin/busybox"));
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.folder.join("socket"));
        command.args(["--namespace", "k8s.io", "image", "import", "--no-unpack"]).arg(archive);
        self.own_programs(&mut command);
        let output = self.world.host().output(command);
        assert!(output.status.success(), "ctr image import: {}", String::from_utf8_lossy(&output.stderr));
        eventually("containerd knows the image", PATIENCE, || {
            self.cri().has_image(image::NAME).is_ok_and(|known| known).then_some(())
        });
    }

    fn entering(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first_process().to_string(), "--mount", "--pid"]);
        command
    }

    fn own_programs(&self, command: &mut Command) {
        let own = self.packages.display();
        command.env("PATH", format!("{own}/usr/sbin:{own}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("LD_LIBRARY_PATH", format!("{own}/usr/lib/x86_64-linux-gnu"));
    }

    /// `native` copies layers, whatever file system is below; the two restrictions are those of a test machine.
    fn config(&self) -> String {
        let folder = self.folder.display();
        format!(
            "version = 2\nroot = \"{folder}/root\"\nstate = \"/run/containerd\"\n\
             [grpc]\naddress = \"{folder}/socket\"\n[ttrpc]\naddress = \"/run/containerd/ttrpc\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{folder}/opt\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{}\"\ndisable_apparmor = true\n\
             restrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{folder}/bin\"\nconf_dir = \"{folder}/net.d\"\n",
            image::NAME
        )
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The first process of containerd's namespaces, by its number outside.
    fn first_process(&self) -> u32 {
        child(self.spaces.id())
    }
}

impl Drop for Containerd {
    /// With their first process the kernel ends all others; then the control groups are empty.
    fn drop(&mut self) {
        // Each of these is done as well as it can be: the test may be failing already.
        signal("KILL", child(self.spaces.id()));
        within(PATIENCE, || (!self.spaces.is_running()).then_some(()));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            within(Duration::from_secs(5), || remove_groups(&hierarchy.path().join(&self.cgroup)));
        }
        within(Duration::from_secs(5), || remove_groups(&Path::new("/sys/fs/cgroup").join(&self.cgroup)));
    }
}

/// The page's list of a bridge of both families with everything behind it that leaves something on a node.
pub fn chain() -> Network {
    documented(1)
}

/// The page's list of flannel, with the same behind it.
pub fn flannels() -> Network {
    documented(2)
}

/// An example of the page, counted from 1.
fn documented(nth: usize) -> Network {
    let text = PAGE.split("```json").nth(nth).and_then(|rest| rest.split("```").next()).expect("an example");
    let list: Value = serde_json::from_str(text).expect("the example is JSON");
    let word = |key: &str| list[key].as_str().expect("a list has a name and a version").to_owned();
    let plugins = list["plugins"].as_array().expect("a list has plugins").clone();
    Network { name: word("name"), version: word("cniVersion"), plugins }
}

/// The child of a process that has one; 0 when it is gone.
fn child(parent: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.trim().parse().unwrap_or_default()
}

fn signal(name: &str, process: u32) {
    // 0 would be the test's own group.
    if process != 0 {
        Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().ok();
    }
}

/// Removes a control group and those below it; `None` while one of them is still in use.
fn remove_groups(group: &Path) -> Option<()> {
    for entry in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path())?;
    }
    (fs::remove_dir(group).is_ok() || !group.exists()).then_some(())
}
