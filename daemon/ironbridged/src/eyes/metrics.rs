//! The metrics: counted where things happen, set from what is known when somebody asks, written as `OpenMetrics` text.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// One label with its value.
type Label = [(&'static str, &'static str); 1];
type Seconds = Gauge<f64, AtomicU64>;

/// What the text is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric; `docs/metrics.md` has the same list, and a test compares.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub ready: Gauge,
    pub leases: Gauge,
    pub peers: Gauge,
    pub junk: Gauge,
    pub problems: Gauge,
    pub subnets: Family<Label, Gauge>,
    pub subnets_free: Family<Label, Gauge>,
    pub desired: Family<Label, Gauge>,
    pub missing: Family<Label, Gauge>,
    pub changes: Family<Label, Counter>,
    pub repairs: Family<Label, Counter>,
    pub refusals: Counter,
    pub settle: Histogram,
    pub passes: Family<Label, Counter>,
    pub last_pass: Seconds,
    pub store_up: Gauge,
    pub store_stale: Seconds,
    pub store_revision: Gauge,
    pub lease_held: Gauge,
    pub lease_expiry: Seconds,
    pub renewals: Family<Label, Counter>,
    pub carried_packets: Family<Label, Counter>,
    pub carried_bytes: Family<Label, Counter>,
    pub lost_packets: Family<Label, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("ironbridged"),
            ready: Gauge::default(),
            leases: Gauge::default(),
            peers: Gauge::default(),
            junk: Gauge::default(),
            problems: Gauge::default(),
            subnets: Family::default(),
            subnets_free: Family::default(),
            desired: Family::default(),
            missing: Family::default(),
            changes: Family::default(),
            repairs: Family::default(),
            refusals: Counter::default(),
            // From half a millisecond to eight seconds: a pass over 10,000 routes is in the middle.
            settle: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            passes: Family::default(),
            last_pass: Seconds::default(),
            store_up: Gauge::default(),
            store_stale: Seconds::default(),
            store_revision: Gauge::default(),
            lease_held: Gauge::default(),
            lease_expiry: Seconds::default(),
            renewals: Family::default(),
            carried_packets: Family::default(),
            carried_bytes: Family::default(),
            lost_packets: Family::default(),
        };
        metrics.register_states();
        metrics.register_work();
        metrics.register_carriage();
        metrics.begin();
        metrics
    }
}

impl Metrics {
    fn register_states(&mut self) {
        let to = &mut self.registry;
        to.register("build", "The version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        to.register("ready", "1 when /readyz says so", self.ready.clone());
        to.register("leases", "Leases in the last complete snapshot", self.leases.clone());
        to.register("peers", "Leases of other nodes", self.peers.clone());
        to.register("junk_keys", "Keys that are no lease and are skipped", self.junk.clone());
        to.register("problems", "Findings that are not put right yet", self.problems.clone());
        to.register("subnets", "Subnets that nodes can lease", self.subnets.clone());
        to.register("subnets_free", "Subnets that no lease touches", self.subnets_free.clone());
        to.register("objects_desired", "Kernel objects that should be there", self.desired.clone());
        let missing = "Kernel objects that should be there and were not after the last pass";
        to.register("objects_missing", missing, self.missing.clone());
        to.register("store_up", "1 while changes of the store arrive", self.store_up.clone());
        let stale = "How long no changes of the store arrive";
        to.register_with_unit("store_stale", stale, Unit::Seconds, self.store_stale.clone());
        to.register("store_revision", "Revision of the last complete snapshot", self.store_revision.clone());
        to.register("lease_held", "1 while the lease is this node's", self.lease_held.clone());
        let expiry = "When the lease ends unless it is renewed, seconds since 1970; 0 for a reservation";
        to.register_with_unit("lease_expiry_timestamp", expiry, Unit::Seconds, self.lease_expiry.clone());
    }

    fn register_work(&mut self) {
        let to = &mut self.registry;
        to.register("changes", "Kernel objects set or removed", self.changes.clone());
        let repairs = "Kernel objects set although no lease had changed: somebody had altered them";
        to.register("repairs", repairs, self.repairs.clone());
        to.register("refusals", "Changes that the kernel refused", self.refusals.clone());
        let settle = "One comparison with the kernel and the mending of the difference";
        to.register_with_unit("settle", settle, Unit::Seconds, self.settle.clone());
        to.register("passes", "Comparisons with the kernel, by outcome", self.passes.clone());
        let last = "When the last pass ended, seconds since 1970";
        to.register_with_unit("last_pass_timestamp", last, Unit::Seconds, self.last_pass.clone());
        to.register("renewals", "Renewals of the lease, by outcome", self.renewals.clone());
    }

    /// What the daemon carries itself.
    fn register_carriage(&mut self) {
        let to = &mut self.registry;
        let packets = "Packets that the daemon carried itself";
        to.register("carried_packets", packets, self.carried_packets.clone());
        let bytes = "Their bytes, without the frames around them";
        to.register("carried_bytes", bytes, self.carried_bytes.clone());
        let lost = "Packets that it did not carry, by reason";
        to.register("lost_packets", lost, self.lost_packets.clone());
    }

    /// A counter that begins at nothing shows its first event as an increase.
    fn begin(&self) {
        for outcome in ["renewed", "moved", "put_back", "failed", "stolen"] {
            self.renewals.get_or_create(&[("outcome", outcome)]).inc_by(0);
        }
        for outcome in ["done", "failed"] {
            self.passes.get_or_create(&[("outcome", outcome)]).inc_by(0);
        }
    }

    /// The text that a scraper gets.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A String takes everything.
        text::encode(&mut text, &self.registry).ok();
        text
    }
}
