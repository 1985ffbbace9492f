//! What a pass changed, as log lines: few, however many changes there are.

use overlay::Change;

/// More lines than this for one pass help nobody.
const LINES: usize = 20;

/// Logs the routes by name and the rest by number.
pub fn log(changes: &[Change]) {
    let routes = changes.iter().filter(|c| matches!(c, Change::PutRoute { .. } | Change::DeleteRoute(_)));
    for change in routes.clone().take(LINES) {
        match change {
            Change::PutRoute { destination, hop, .. } => {
                tracing::info!(%destination, gateway = %hop.gateway, interface = hop.oif, "route set");
            }
            Change::DeleteRoute(route) => tracing::info!(destination = %route.destination, "route deleted"),
            Change::AddNexthop { .. } | Change::DeleteNexthop { .. } => {}
        }
    }
    let more = routes.count().saturating_sub(LINES);
    if more > 0 {
        tracing::info!(more, "further routes set or deleted");
    }
}
