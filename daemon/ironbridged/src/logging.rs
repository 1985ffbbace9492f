//! The log: one line an event on standard error, for people or as JSON.

use tracing_subscriber::EnvFilter;

use crate::flags::LogFormat;
use crate::options::LogChoice;

/// Starts it. `directives` is the content of `RUST_LOG`, which wins over the verbosity.
pub fn start(choice: LogChoice, directives: Option<&str>) {
    let level = match choice.verbosity {
        ..=0 => "info",
        1..=3 => "info,ironbridged=debug,overlay=debug,kernel=debug",
        4.. => "debug,ironbridged=trace,overlay=trace,kernel=trace",
    };
    let filter =
        directives.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match choice.format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
