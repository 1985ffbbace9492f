//! Network managers that run in this network namespace, and what their files tell them of our links.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::node::{Manager, ManagerKind, Node};

/// The folders of systemd's and `NetworkManager`'s files, the strongest first.
const FOLDERS: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];

/// Those that run.
pub fn running(root: &Path, node: &Node) -> Vec<Manager> {
    let Ok(own) = fs::read_link("/proc/thread-self/ns/net") else { return Vec::new() };
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let managers = processes.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let kind = match fs::read_to_string(entry.path().join("comm")).ok()?.trim() {
            // The kernel keeps fifteen characters.
            "systemd-network" | "systemd-networkd" => ManagerKind::Networkd,
            "NetworkManager" => ManagerKind::NetworkManager,
            _ => return None,
        };
        (fs::read_link(entry.path().join("ns/net")).ok()? == own).then(|| examine(kind, pid, root, node))
    });
    managers.collect()
}

fn examine(kind: ManagerKind, pid: u32, root: &Path, node: &Node) -> Manager {
    let mut links: Vec<String> = node.bridges().into_iter().map(str::to_owned).collect();
    links.extend(node.own_links().map(|link| link.name.clone()));
    links.extend(node.links.iter().map(|l| l.name.clone()).filter(|name| name.starts_with("flannel")));
    let (manages, deletes_routes) = match kind {
        ManagerKind::Networkd => {
            let spared = spared_by_networkd(root);
            links.retain(|link| !spared.iter().any(|pattern| matches(pattern, link)));
            (links, !spares_routes(root))
        }
        ManagerKind::NetworkManager => {
            let spared = spared_by_network_manager(root);
            links.retain(|link| !spared.iter().any(|pattern| matches(pattern, link)));
            (links, false)
        }
    };
    Manager { kind, pid, manages, deletes_routes }
}

/// The patterns of links that some `.network` file calls unmanaged.
fn spared_by_networkd(root: &Path) -> Vec<String> {
    let unmanaged = |text: &String| text.lines().any(|line| key(line, "Unmanaged").is_some_and(is_true));
    let files = read_all(root, "systemd/network", "network").into_iter().filter(unmanaged);
    let names = |text: String| {
        let values = text.lines().filter_map(|line| key(line, "Name")).flat_map(str::split_whitespace);
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    files.flat_map(names).collect()
}

/// `ManageForeignRoutes=no`, in the main file or a drop-in.
fn spares_routes(root: &Path) -> bool {
    let main = FOLDERS.iter().map(|folder| root.join(folder).join("systemd/networkd.conf"));
    let main = main.filter_map(|path| fs::read_to_string(path).ok());
    let texts: Vec<String> = main.chain(read_all(root, "systemd/networkd.conf.d", "conf")).collect();
    let settings = texts.iter().flat_map(|text| text.lines());
    settings
        .filter_map(|line| key(line, "ManageForeignRoutes"))
        .next_back()
        .is_some_and(|value| !is_true(value))
}

fn spared_by_network_manager(root: &Path) -> Vec<String> {
    let texts = read_all(root, "NetworkManager/conf.d", "conf");
    let main = fs::read_to_string(root.join("etc/NetworkManager/NetworkManager.conf"));
    let texts: Vec<String> = main.into_iter().chain(texts).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let devices =
        lines.filter_map(|line| key(line, "unmanaged-devices")).flat_map(|list| list.split([';', ',']));
    devices.filter_map(|device| device.trim().strip_prefix("interface-name:")).map(str::to_owned).collect()
}

/// The files of a folder in all places; one in a stronger place hides its namesake.
fn read_all(root: &Path, folder: &str, extension: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for place in FOLDERS {
        let entries =
            fs::read_dir(root.join(place).join(folder)).into_iter().flatten().filter_map(Result::ok);
        for path in entries.map(|entry| entry.path()) {
            let hidden = files.iter().any(|known| known.file_name() == path.file_name());
            if path.extension().is_some_and(|e| e == extension) && !hidden {
                files.push(path);
            }
        }
    }
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

fn key<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.trim().strip_prefix(name)?.trim_start().strip_prefix('=').map(str::trim)
}

fn is_true(value: &str) -> bool {
    ["yes", "true", "on", "1"].contains(&value.to_ascii_lowercase().as_str())
}

/// A shell pattern with `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = pattern.get(1..).unwrap_or_default();
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|tail| matches(rest, tail)))
        }
        Some(first) => {
            let mut letters = name.chars();
            let fits = letters.next().is_some_and(|letter| first == '?' || letter == first);
            fits && matches(pattern.get(first.len_utf8()..).unwrap_or_default(), letters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_the_shells() {
        assert!(matches("veth*", "veth0123") && matches("*", "") && matches("fl?nnel.*", "flannel.1"));
        assert!(!matches("veth", "veth0") && !matches("cni?", "cni") && !matches("cni*x", "cni0"));
    }

    #[test]
    fn the_strongest_place_decides() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(!spares_routes(root.path()));
        put("usr/lib/systemd/networkd.conf.d/10-x.conf", "[Network]\nManageForeignRoutes=no\n");
        assert!(spares_routes(root.path()));
        put("etc/systemd/networkd.conf.d/10-x.conf", "[Network]\nManageForeignRoutes = yes\n");
        assert!(!spares_routes(root.path()));
        put("etc/systemd/network/a.network", "[Match]\nName=cni* veth*\n\n[Link]\nUnmanaged=yes\n");
        put("etc/systemd/network/b.network", "[Match]\nName=eth0\n");
        assert_eq!(spared_by_networkd(root.path()), ["cni*", "veth*"]);
    }
}
