//! What a pass changed, as log lines: few, however many changes there are.

use overlay::Change;

/// More lines than this for one pass help nobody.
const LINES: usize = 20;

/// Logs the routes by name and the rest by number.
pub fn log(changes: &[Change]) {
    let routes = changes.iter().filter(|c| matches!(c, Change::PutRoute { .. } | Change::DeleteRoute(_)));
    for change in routes.clone().take(LINES) {
        if let Change::PutRoute { destination, hop, .. } = change {
            tracing::info!(%destination, via = %hop, interface = hop.oif, "route set");
        }
        if let Change::DeleteRoute(route) = change {
            tracing::info!(destination = %route.destination, "route deleted");
        }
    }
    let more = routes.count().saturating_sub(LINES);
    if more > 0 {
        tracing::info!(more, "further routes set or deleted");
    }
    let entries = |is_put: fn(&Change) -> bool| changes.iter().filter(|change| is_put(change)).count();
    let set = entries(|c| matches!(c, Change::PutNeighbour(_) | Change::PutForwarding(_)));
    let deleted = entries(|c| matches!(c, Change::DeleteNeighbour(_) | Change::DeleteForwarding(_)));
    if set + deleted > 0 {
        tracing::info!(set, deleted, "tunnel entries");
    }
}
