//! The daemon's life: start, keep the lease and the data path, end on a signal with the data path in place.

use std::sync::{Arc, OnceLock, mpsc};

use overlay::{BackendConfig, ExtensionConfig, Masquerade, NetworkConfig, SubnetEnv};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::announcer::Announcer;
use crate::commands::{self, Variable};
use crate::error::Error;
use crate::eyes::{self, Eyes, Place, Sight};
use crate::health::{self, Status};
use crate::options::Options;
use crate::rules::Rules;
use crate::selftest;
use crate::settle::{Assignment, Blackhole, Input, Report, Settler};
use crate::start::{self, Joined};
use crate::store::{LeaseStore, View};
use crate::subnet_file;
use crate::supervisor::Supervision;
use crate::tenure::Tenure;
use crate::uplink::Follower;

/// Runs until a signal (then nothing is undone: pods keep their connections) or until something fails that waiting does not mend.
pub async fn run(options: &Options, supervision: &Supervision) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let last = Last::default();
    let name = tokio::select! {
        ended = live(options, supervision, &last) => return ended,
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    supervision.tell("STOPPING=1\nSTATUS=ending; routes, rules and lease stay");
    tracing::info!(signal = name, "ending; routes, rules and lease stay");
    if let Some((line, variables)) = last.get().and_then(Farewell::now) {
        commands::run(("ShutdownCommand", line), &variables, "")?;
    }
    Ok(())
}

/// The command to run at the end, once the lease is there.
type Last = OnceLock<Farewell>;

/// A command, and where to find what it is told: the node's address may be another one by then.
struct Farewell {
    line: String,
    config: NetworkConfig,
    eyes: Eyes,
}

impl Farewell {
    fn now(&self) -> Option<(&str, Vec<Variable>)> {
        let lease = self.eyes.held()?.lease;
        Some((&self.line, commands::own_variables(&self.config, &lease.subnets, &lease.attributes)))
    }
}

async fn live(options: &Options, supervision: &Supervision, last: &Last) -> Result<(), Error> {
    let (status, seen) = watch::channel(Status::waiting("starting"));
    let eyes = show(options, seen, supervision).await?;
    let previous = subnet_file::read(&options.subnet_file);
    let mut store = start::store(&options.store);
    let joined = start::join(&mut store, options, &previous, &status).await?;
    let Joined { config, chosen, held, .. } = &joined;
    eyes.placed(Place::new(options, config, chosen), held);
    plan_the_end(config, &eyes, last);

    let own = held.lease.subnets;
    let file = subnet_env(options, &joined);
    let follower =
        Follower { choice: options.uplink.clone(), config: config.clone(), chosen: chosen.clone() };
    let rules = Rules::new(options.rules, config, &own, &previous.networks)?;
    let blackhole = Blackhole::new(options.blackhole, &own, &previous.subnets);
    let (settle, reports) = settler(Assignment::new(&joined, &previous), rules, blackhole, eyes.clone())?;
    tokio::spawn(supervision.clone().keep_alive(settle.clone()));

    let (publisher, views) = View::channel();
    let watching = tokio::spawn(store.watch(publisher));
    let (tenure, standing) = Tenure::new(store, held.clone(), options.renew_margin, eyes.clone());
    let moves = follower.start(settle.clone())?;
    eyes.follow(&views, standing.clone());
    let (verdict, probed) = watch::channel(None);
    tokio::spawn(selftest::run(reports.clone(), verdict));
    let (seen, held) = (views.clone(), held.clone());
    let announcer = Announcer { reports, standing, views: seen, probed, status, held };
    tokio::select! {
        () = tenure.keep(views, moves, settle) => Err(Error::Ended("the settling loop")),
        _ = watching => Err(Error::Ended("the watch on the store")),
        ended = announcer.run(options, &file) => ended,
    }
}

fn plan_the_end(config: &NetworkConfig, eyes: &Eyes, last: &Last) {
    if let BackendConfig::Extension(ExtensionConfig { shutdown: Some(line), .. }) = &config.backend {
        let (line, config, eyes) = (line.clone(), config.clone(), eyes.clone());
        last.get_or_init(|| Farewell { line, config, eyes });
    }
}

/// Everything by which the daemon can be watched, from its first moment on.
async fn show(
    options: &Options,
    status: watch::Receiver<Status>,
    supervision: &Supervision,
) -> Result<Eyes, Error> {
    let store = Arc::new(tokio::sync::Mutex::new(start::store(&options.store)));
    let sight = Sight { eyes: Eyes::default(), status, store };
    if let Some(address) = options.health {
        health::serve(address, sight.clone()).await?;
    }
    if let Err(error) = eyes::socket::serve(&options.status_socket, sight.clone()) {
        // Pods need their network more than the operator needs a table.
        tracing::warn!(%error, "`ironbridge status` cannot ask this daemon");
    }
    tokio::spawn(supervision.clone().follow(sight.status));
    Ok(sight.eyes)
}

fn subnet_env(options: &Options, Joined { config, chosen, held, .. }: &Joined) -> SubnetEnv {
    let masquerade = match options.rules.masquerade {
        Some(_) => Masquerade::ByDaemon,
        None => Masquerade::ByPlugin,
    };
    SubnetEnv::new(config, &held.lease.subnets, chosen.uplink.mtu, masquerade)
}

/// Starts the settling loop on a thread of its own, with its ears.
fn settler(
    assignment: Assignment,
    rules: Rules,
    blackhole: Blackhole,
    eyes: Eyes,
) -> Result<(mpsc::Sender<Input>, watch::Receiver<Report>), Error> {
    let (inputs, told) = mpsc::channel();
    let (publisher, reports) = watch::channel(Report::default());
    rules.listen(inputs.clone())?;
    let settler = Settler::new(assignment, rules, publisher, eyes)?.with(blackhole);
    let settler = settler.listening(inputs.clone());
    std::thread::Builder::new()
        .name("settle".to_owned())
        .spawn(move || settler.run(&told))
        .map_err(Error::Thread)?;
    Ok((inputs, reports))
}
