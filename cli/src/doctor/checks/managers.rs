//! Programs that believe that every link and route of this node is theirs.

use super::super::finding::Finding;
use super::super::node::{Manager, ManagerKind, Node};

/// A manager that deletes the routes that it did not make (systemd#25451, #29716).
pub fn foreign_routes(node: &Node) -> Vec<Finding> {
    let bad = node.managers.iter().filter(|manager| manager.deletes_routes && node.overview.is_some());
    bad.map(|manager| {
        Finding::new(
            "manager-deletes-routes",
            format!(
                "{} (process {}) deletes routes that it did not make whenever it starts again, the daemon's among them",
                name(manager),
                manager.pid
            ),
            "install deploy/networkd/10-ironbridge.conf as /etc/systemd/networkd.conf.d/10-ironbridge.conf (ManageForeignRoutes=no) and restart systemd-networkd",
        )
    })
    .collect()
}

/// A manager that may take addresses from our links, or bring up a DHCP client on them.
pub fn managed_links(node: &Node) -> Vec<Finding> {
    let bad = node.managers.iter().filter(|manager| !manager.manages.is_empty() && node.forwards());
    bad.map(|manager| {
        let file = match manager.kind {
            ManagerKind::Networkd => {
                "deploy/networkd/10-ironbridge.network as /etc/systemd/network/10-ironbridge.network"
            }
            ManagerKind::NetworkManager => {
                "deploy/NetworkManager/10-ironbridge.conf as /etc/NetworkManager/conf.d/10-ironbridge.conf"
            }
        };
        Finding::new(
            "manager-takes-links",
            format!(
                "{} (process {}) is not told to leave {} alone: it may take their addresses away",
                name(manager),
                manager.pid,
                manager.manages.join(", ")
            ),
            format!("install {file} and restart it"),
        )
    })
    .collect()
}

fn name(manager: &Manager) -> &'static str {
    match manager.kind {
        ManagerKind::Networkd => "systemd-networkd",
        ManagerKind::NetworkManager => "NetworkManager",
    }
}
