//! How things stand, put together of what the daemon's parts tell, for the plugins and for everybody who watches.

use std::path::Path;

use overlay::SubnetEnv;
use tokio::sync::watch;

use crate::error::Error;
use crate::health::Status;
use crate::options::Options;
use crate::selftest::SelfTest;
use crate::settle::Report;
use crate::store::{Held, StoreState, View};
use crate::subnet_file;
use crate::tenure::Standing;

/// Tells the plugins and everybody who watches how things stand.
pub struct Announcer {
    /// The settling loop's reports.
    pub reports: watch::Receiver<Report>,
    /// Whose the lease is.
    pub standing: watch::Receiver<Standing>,
    /// The store.
    pub views: watch::Receiver<View>,
    /// The tunnel's self-test.
    pub probed: watch::Receiver<Option<SelfTest>>,
    /// Where the verdict goes.
    pub status: watch::Sender<Status>,
    /// The lease.
    pub held: Held,
}

impl Announcer {
    /// `subnet.env` appears when the peers of the first snapshot are programmed: a pod that starts then can reach them.
    pub async fn run(mut self, options: &Options, file: &SubnetEnv) -> Result<(), Error> {
        self.status.send_replace(Status::waiting("waiting for the first snapshot's peers to be programmed"));
        while !self.reports.borrow_and_update().settled {
            let waiting = self.waiting();
            self.status.send_replace(waiting);
            self.reports.changed().await.map_err(|_| Error::Ended("the settling loop"))?;
        }
        let mut written = self.write(&options.subnet_file, file)?;
        tracing::info!(path = %options.subnet_file.display(), mtu = written, "ready");
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
