//! `ironbridge demo`: a cluster on this machine, in namespaces of its own, with real daemons, real plugins and real traffic.

mod daemon;
mod directory;
mod error;
mod interrupt;
mod keep;
mod picture;
mod pods;
mod probe;
mod process;
mod progress;
mod store;
mod traffic;
mod view;
mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use directory::Directory;
use error::{At, Error};
use interrupt::Interrupt;
use keep::Names;
use pods::Pod;
use process::{Process, Tie};
use progress::step;
use store::{Backend, Kind, Store};
use traffic::Row;
use view::View;
use world::{OUTSIDE, World};

/// Names of the pods on one node.
const LETTERS: [char; 2] = ['a', 'b'];
/// 128 + SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;

/// What the user asked for.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Where the daemons meet
    #[arg(long, value_enum, default_value_t = Kind::File)]
    store: Kind,
    /// How the nodes reach each other
    #[arg(long, value_enum, default_value_t = Backend::HostGw)]
    backend: Backend,
    /// How many nodes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    nodes: u8,
    /// The daemon's binary; by default the `ironbridged` beside this program
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Leave everything up, and say how to enter it
    #[arg(long)]
    keep: bool,
    /// End a demo that was kept
    #[arg(long, conflicts_with_all = ["keep", "store", "backend", "nodes", "daemon"])]
    cleanup: bool,
}

/// Everything that the demo has made. Dropped, it is gone: first the programs, then the names, last the files.
struct Stage {
    processes: Vec<Process>,
    names: Names,
    pods: Vec<Pod>,
    world: World,
    directory: Directory,
    tie: Tie,
}

impl Demo {
    /// Runs the demo. Success is that every packet arrived.
    pub fn run(&self) -> ExitCode {
        match self.try_run() {
            Ok(code) => code,
            Err(Error::Interrupted) => {
                print_error("interrupted; nothing is left behind");
                ExitCode::from(INTERRUPTED)
            }
            Err(error) => {
                print_error(&format!("ironbridge demo: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    fn try_run(&self) -> Result<ExitCode, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        let interrupt = Interrupt::catch()?;
        if self.cleanup {
            let ended = keep::clean_up(&interrupt)?;
            print(if ended { "the kept demo has ended\n" } else { "there is no kept demo\n" })?;
            return Ok(ExitCode::SUCCESS);
        }
        let binary = daemon::find(self.daemon.as_deref())?;
        let mut stage = self.build(&binary, &interrupt)?;
        let rows = step("traffic", |step| {
            traffic::run(&stage.world, &stage.pods, &interrupt, |what| step.at(what))
        })?;
        let passed = rows.iter().all(Row::passed);
        print(&stage.report(&rows)?)?;
        if self.keep {
            print(&stage.keep()?)?;
        }
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn build(&self, binary: &Path, interrupt: &Interrupt) -> Result<Stage, Error> {
        let directory = self.directory()?;
        let world = step(&format!("{} nodes on an underlay", self.nodes), |_| World::make(self.nodes))?;
        let tie = if self.keep { Tie::Free } else { Tie::Tied };
        let mut stage =
            Stage { processes: vec![], names: Names::default(), pods: vec![], world, directory, tie };
        let store = step("the store", |_| match self.store {
            Kind::File => Store::file(&stage.directory, self.backend),
            Kind::Etcd => Store::etcd(&stage.world, &stage.directory, self.backend, (tie, interrupt)),
        })?;
        stage.processes.extend(store.server);
        stage.record()?;
        step("ironbridged on each node", |step| {
            stage.start_daemons(binary, &store.flags, (step, interrupt))
        })?;
        step("pods, through loopback and flannel → bridge → host-local", |step| {
            stage.attach_pods((step, interrupt))
        })?;
        Ok(stage)
    }

    fn directory(&self) -> Result<Directory, Error> {
        if self.keep {
            keep::refuse_second()?;
            return Directory::at(keep::DIRECTORY.into());
        }
        Directory::temporary()
    }
}

impl Stage {
    fn start_daemons(
        &mut self,
        binary: &Path,
        store: &[String],
        (step, interrupt): (&progress::Step, &Interrupt),
    ) -> Result<(), Error> {
        let first = self.processes.len();
        for node in &self.world.nodes {
            step.at(&node.name);
            self.processes.push(daemon::start(binary, node, &self.directory, (self.tie, store))?);
            self.record()?;
        }
        for (process, node) in self.processes.iter_mut().skip(first).zip(&self.world.nodes) {
            step.at(&format!("waiting for {}", node.name));
            daemon::await_ready(process, node, &daemon::subnet_file(&self.directory, node), interrupt)?;
        }
        Ok(())
    }

    fn attach_pods(&mut self, (step, interrupt): (&progress::Step, &Interrupt)) -> Result<(), Error> {
        let bin = self.directory.make("bin")?;
        crate::install::install(&bin)?;
        for (index, node) in self.world.nodes.iter().enumerate() {
            for letter in LETTERS {
                interrupt.check()?;
                let name = format!("pod{}{letter}", index + 1);
                step.at(&name);
                self.pods.push(pods::attach(&bin, &self.directory, (index, node), name)?);
            }
        }
        Ok(())
    }

    /// A demo that is to be kept must be found again even if it is killed on its way.
    fn record(&self) -> Result<(), Error> {
        match self.tie {
            Tie::Tied => Ok(()),
            Tie::Free => keep::record(self.directory.path(), self.processes.iter().filter_map(Process::id)),
        }
    }

    fn report(&self, rows: &[Row]) -> Result<String, Error> {
        let nodes = self.world.nodes.iter().enumerate();
        let views: Vec<View> = nodes
            .map(|(index, node)| {
                let pods: Vec<&Pod> = self.pods.iter().filter(|pod| pod.node == index).collect();
                View::of(node, &daemon::subnet_file(&self.directory, node), &pods)
            })
            .collect::<Result<_, _>>()?;
        let failed = rows.iter().filter(|row| !row.passed()).count();
        let verdict = match failed {
            0 => format!("all {} ways are open", rows.len()),
            _ => format!("{failed} of {} ways are closed", rows.len()),
        };
        let picture = picture::picture(&views, &World::underlay_network(), &OUTSIDE.to_string());
        Ok(format!("\n{picture}\n{}\n{verdict}\n", picture::traffic(rows)))
    }

    /// Gives every namespace a name, and lets go of everything.
    fn keep(&mut self) -> Result<String, Error> {
        let nodes = self.world.nodes.iter().map(|node| (node.name.as_str(), &node.netns));
        let pods = self.pods.iter().map(|pod| (pod.name.as_str(), &pod.netns));
        let rest = [("underlay", &self.world.underlay), ("outside", &self.world.outside)];
        for (name, netns) in nodes.chain(pods).chain(rest) {
            self.names.give(self.directory.path(), name, netns)?;
        }
        self.names.keep();
        self.directory.keep();
        self.processes.iter_mut().for_each(Process::release);
        let (directory, pod) = (self.directory.path().display(), keep::path_of("pod1a"));
        Ok(format!(
            "\nkept. Enter a namespace:  nsenter --net={} sh\nnamespaces:               {}\n\
             logs and files:           {directory}\nend it:                   ironbridge demo --cleanup\n",
            pod.display(),
            keep::path_of("").display(),
        ))
    }
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).at("write", Path::new("standard output"))
}

fn print_error(text: &str) {
    // There is nobody left to tell.
    writeln!(std::io::stderr(), "{text}").ok();
}
