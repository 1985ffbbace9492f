//! The daemon's life: start, keep the lease and the data path, end on a signal with the data path in place.

use std::sync::{Arc, mpsc};

use overlay::{Masquerade, Previous, SubnetEnv};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::Error;
use crate::eyes::{self, Eyes, Place, Sight};
use crate::health::{self, Status};
use crate::options::Options;
use crate::rules::Rules;
use crate::settle::{Assignment, Blackhole, Input, Report, Settler};
use crate::start::{self, Joined};
use crate::store::{Held, LeaseStore, StoreState, View};
use crate::subnet_file;
use crate::supervisor::Supervision;
use crate::tenure::{Standing, Tenure};
use crate::uplink::Follower;

/// Runs until a signal (then nothing is undone: pods keep their connections) or until something fails that waiting does not mend.
pub async fn run(options: &Options, supervision: &Supervision) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let name = tokio::select! {
        ended = live(options, supervision) => return ended,
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    supervision.tell("STOPPING=1\nSTATUS=ending; routes, rules and lease stay");
    tracing::info!(signal = name, "ending; routes, rules and lease stay");
    Ok(())
}

async fn live(options: &Options, supervision: &Supervision) -> Result<(), Error> {
    let (status, seen) = watch::channel(Status::waiting("starting"));
    let eyes = show(options, seen, supervision).await?;
    let previous = subnet_file::read(&options.subnet_file);
    let mut store = start::store(&options.store);
    let joined = start::join(&mut store, options, &previous, &status).await?;
    let Joined { config, chosen, held } = &joined;
    eyes.placed(Place::new(options, config, chosen), held);

    let own = held.lease.subnets;
    let file = subnet_env(options, &joined);
    let follower =
        Follower { choice: options.uplink.clone(), config: config.clone(), chosen: chosen.clone() };
    let rules = Rules::new(options.rules, config, &own, &previous.networks)?;
    let blackhole = Blackhole::new(options.blackhole, &own, &previous.subnets);
    let (settle, reports) = settler(assignment(&joined, &previous), rules, blackhole, eyes.clone())?;
    tokio::spawn(supervision.clone().keep_alive(settle.clone()));

    let (publisher, views) = View::channel();
    let watching = tokio::spawn(store.watch(publisher));
    let (tenure, standing) = Tenure::new(store, held.clone(), options.renew_margin, eyes.clone());
    let moves = follower.start(settle.clone())?;
    eyes.follow(&views, standing.clone());
    let announcer = Announcer { reports, standing, views: views.clone(), status, held: held.clone() };
    tokio::select! {
        () = tenure.keep(views, moves, settle) => Err(Error::Ended("the settling loop")),
        _ = watching => Err(Error::Ended("the watch on the store")),
        ended = announcer.run(options, &file) => ended,
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

fn subnet_env(options: &Options, Joined { config, chosen, held }: &Joined) -> SubnetEnv {
    let masquerade = match options.rules.masquerade {
        Some(_) => Masquerade::ByDaemon,
        None => Masquerade::ByPlugin,
    };
    SubnetEnv::new(config, &held.lease.subnets, chosen.uplink.mtu, masquerade)
}

fn assignment(Joined { config, chosen, held }: &Joined, previous: &Previous) -> Assignment {
    let networks = config.v4.iter().chain(&config.v6).map(|family| family.network);
    Assignment {
        own: held.lease.subnets,
        scope: networks.chain(previous.networks.iter()).collect(),
        uplink: chosen.uplink.name.clone(),
        published: chosen.published(),
        config: config.clone(),
    }
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
    let mut settler = Settler::new(assignment, rules, publisher, eyes)?.with(blackhole);
    settler.ears()?.listen(inputs.clone())?;
    std::thread::Builder::new()
        .name("settle".to_owned())
        .spawn(move || settler.run(&told))
        .map_err(Error::Thread)?;
    Ok((inputs, reports))
}

/// Tells the plugins and everybody who watches how things stand.
struct Announcer {
    reports: watch::Receiver<Report>,
    standing: watch::Receiver<Standing>,
    views: watch::Receiver<View>,
    status: watch::Sender<Status>,
    held: Held,
}

impl Announcer {
    /// `subnet.env` appears when the peers of the first snapshot are programmed: a pod that starts then can reach them.
    async fn run(mut self, options: &Options, file: &SubnetEnv) -> Result<(), Error> {
        self.status.send_replace(Status::waiting("waiting for the first snapshot's peers to be programmed"));
        while !self.reports.borrow_and_update().settled {
            let waiting = self.waiting();
            self.status.send_replace(waiting);
            self.reports.changed().await.map_err(|_| Error::Ended("the settling loop"))?;
        }
        subnet_file::write(&options.subnet_file, file)
            .map_err(|source| Error::SubnetFile { path: options.subnet_file.clone(), source })?;
        tracing::info!(path = %options.subnet_file.display(), "ready");
        loop {
            let now = self.now();
            self.status.send_replace(now);
            tokio::select! {
                changed = self.reports.changed() => changed.map_err(|_| Error::Ended("the settling loop"))?,
                changed = self.standing.changed() => changed.map_err(|_| Error::Ended("the lease's keeper"))?,
                changed = self.views.changed() => changed.map_err(|_| Error::Ended("the watch on the store"))?,
            }
        }
    }

    fn waiting(&self) -> Status {
        let now = self.now();
        let for_what = match now.problems.first() {
            Some(problem) => format!("waiting for peers to be programmed: {problem}"),
            None => "waiting for the first snapshot's peers to be programmed".to_owned(),
        };
        Status { ready: false, waiting: Some(for_what), ..now }
    }

    fn now(&self) -> Status {
        let report = self.reports.borrow().clone();
        let store = match &self.views.borrow().state {
            StoreState::Live => None,
            StoreState::Stale { why, .. } => Some(why.clone()),
        };
        let waiting = match &*self.standing.borrow() {
            // The lease is being put back; the data path stands.
            Standing::Held | Standing::Missing => None,
            Standing::Stolen(by) => Some(format!("this node's subnet was taken by {by}")),
        };
        let lease = Some(self.held.lease.subnets.to_string());
        let Report { routes, problems, .. } = report;
        Status { ready: waiting.is_none(), waiting, lease, store, routes, problems }
    }
}
