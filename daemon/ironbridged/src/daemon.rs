//! The daemon's life: start, keep the lease and the data path, end on a signal with the data path in place.

use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc;

use overlay::{BackendConfig, ExtensionConfig, Masquerade, Previous, SubnetEnv};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::commands::{self, Variable};
use crate::error::Error;
use crate::health::{self, Status};
use crate::options::Options;
use crate::rules::Rules;
use crate::selftest::{self, SelfTest};
use crate::settle::{Assignment, Input, Report, Settler};
use crate::store::{Held, LeaseStore, StoreState, View};
use crate::tenure::{Standing, Tenure};
use crate::uplink::Chosen;
use crate::{Surroundings, forwarding, start, subnet_file, supervisor};

/// Runs until a signal (then nothing is undone: pods keep their connections) or until something fails that waiting does not mend.
pub async fn run(options: &Options, surroundings: Surroundings<'_>) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let last = Last::default();
    let name = tokio::select! {
        ended = live(options, surroundings, &last) => return ended,
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "ending; routes, rules and lease stay");
    if let Some((line, variables)) = last.get() {
        commands::run(("ShutdownCommand", line), variables, "")?;
    }
    Ok(())
}

/// The command to run at the end, once the lease is there.
type Last = OnceLock<(String, Vec<Variable>)>;

async fn live(options: &Options, surroundings: Surroundings<'_>, last: &Last) -> Result<(), Error> {
    let (status, seen) = watch::channel(Status::waiting("starting"));
    if let Some(address) = options.health {
        health::serve(address, seen).await?;
    }
    let previous = subnet_file::read(&options.subnet_file);
    let mut store = start::store(&options.store);
    let config = start::config(&mut store, options, &status).await;
    let chosen = start::uplink(options, &config)?;
    forwarding::enable(&config, &chosen.uplink.name);
    let node = start::identity(options, &chosen, previous.subnets);
    let secret = start::secret(&config, surroundings.wireguard_key)?;
    let held = start::lease(&mut store, (&node, &config), secret.as_ref(), &status).await?;
    if let BackendConfig::Extension(ExtensionConfig { shutdown: Some(line), .. }) = &config.backend {
        let Held { lease, .. } = &held;
        last.get_or_init(|| {
            (line.clone(), commands::own_variables(&config, &lease.subnets, &lease.attributes))
        });
    }
    let own = held.lease.subnets;
    let masquerade = match options.rules.masquerade {
        Some(_) => Masquerade::ByDaemon,
        None => Masquerade::ByPlugin,
    };
    let file = SubnetEnv::new(&config, &own, chosen.uplink.mtu, masquerade);
    let rules = Rules::new(options.rules, &config, &own, &previous.networks)?;
    let (settle, reports) =
        settler(Assignment { secret, ..assignment(config, &held, &chosen, &previous) }, rules)?;

    let (publisher, views) = View::channel();
    let watching = tokio::spawn(store.watch(publisher));
    let (tenure, standing) = Tenure::new(store, held.clone(), options.renew_margin);
    let (verdict, probed) = watch::channel(None);
    tokio::spawn(selftest::run(reports.clone(), verdict));
    let announcer = Announcer { reports, standing, views: views.clone(), probed, status, held };
    tokio::select! {
        () = tenure.keep(views, settle) => Err(Error::Ended("the settling loop")),
        _ = watching => Err(Error::Ended("the watch on the store")),
        ended = announcer.run(options, &file, surroundings.notify) => ended,
    }
}

fn assignment(
    config: overlay::NetworkConfig,
    held: &Held,
    chosen: &Chosen,
    previous: &Previous,
) -> Assignment {
    let networks = config.v4.iter().chain(&config.v6).map(|family| family.network);
    let published = [chosen.v4.map(IpAddr::from), chosen.v6.map(IpAddr::from)];
    let carriers = published.into_iter().filter_map(|ip| overlay::local_address(&chosen.uplink, ip));
    Assignment {
        own: held.lease.subnets,
        attributes: held.lease.attributes.clone(),
        secret: None,
        scope: networks.chain(previous.networks.iter()).collect(),
        uplink: chosen.uplink.name.clone(),
        published: carriers.collect(),
        config,
    }
}

/// Starts the settling loop on a thread of its own, with its ears.
fn settler(
    assignment: Assignment,
    rules: Rules,
) -> Result<(mpsc::Sender<Input>, watch::Receiver<Report>), Error> {
    let (inputs, told) = mpsc::channel();
    let (publisher, reports) = watch::channel(Report::default());
    rules.listen(inputs.clone())?;
    let settler = Settler::new(assignment, rules, publisher)?;
    settler.ears().listen(inputs.clone())?;
    std::thread::Builder::new()
        .name("settle".to_owned())
        .spawn(move || settler.run(&told))
        .map_err(Error::Thread)?;
    Ok((inputs, reports))
}

/// Tells the plugins, the supervisor and `/readyz` how things stand.
struct Announcer {
    reports: watch::Receiver<Report>,
    standing: watch::Receiver<Standing>,
    views: watch::Receiver<View>,
    probed: watch::Receiver<Option<SelfTest>>,
    status: watch::Sender<Status>,
    held: Held,
}

impl Announcer {
    /// `subnet.env` appears when the peers of the first snapshot are programmed: a pod that starts then can reach them.
    async fn run(mut self, options: &Options, file: &SubnetEnv, notify: Option<&str>) -> Result<(), Error> {
        self.status.send_replace(Status::waiting("waiting for the first snapshot's peers to be programmed"));
        while !self.reports.borrow_and_update().settled {
            let waiting = self.waiting();
            self.status.send_replace(waiting);
            self.reports.changed().await.map_err(|_| Error::Ended("the settling loop"))?;
        }
        let mut written = self.write(&options.subnet_file, file)?;
        tracing::info!(path = %options.subnet_file.display(), mtu = written, "ready");
        if let Some(Err(error)) = notify.map(supervisor::ready) {
            tracing::warn!(%error, "the supervisor could not be told that the daemon is ready");
        }
        loop {
            let now = self.now();
            self.status.send_replace(now);
            if self.reports.borrow().mtu.is_some_and(|mtu| mtu != written) {
                written = self.write(&options.subnet_file, file)?;
                tracing::warn!(
                    mtu = written,
                    "the MTU for pods changed: new pods get it, those that run keep theirs"
                );
            }
            tokio::select! {
                changed = self.reports.changed() => changed.map_err(|_| Error::Ended("the settling loop"))?,
                changed = self.standing.changed() => changed.map_err(|_| Error::Ended("the lease's keeper"))?,
                // The probe ends when it is done: after that there is nothing more to hear of it.
                Ok(()) = self.probed.changed() => {}
                changed = self.views.changed() => changed.map_err(|_| Error::Ended("the watch on the store"))?,
            }
        }
    }

    /// Writes the file with the MTU that the kernel gave the links; the answer is that MTU.
    fn write(&self, path: &Path, file: &SubnetEnv) -> Result<u32, Error> {
        let mtu = self.reports.borrow().mtu.unwrap_or(file.mtu);
        subnet_file::write(path, &SubnetEnv { mtu, ..file.clone() })
            .map_err(|source| Error::SubnetFile { path: path.to_owned(), source })?;
        Ok(mtu)
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
        let Report { routes, other_backends, problems, .. } = report;
        let self_test = self.probed.borrow().clone();
        let ready = waiting.is_none();
        Status { ready, waiting, lease, store, routes, other_backends, self_test, problems }
    }
}
