//! The name of a node whose operator gave it none: the host's name, and a part of the machine's id.
//!
//! The host's name alone would do where names are unique, as in Kubernetes. Machines that are copies of one image often
//! share it, and a node that takes another's name takes its subnet.

use std::fs;

/// Names that many hosts have at once.
const NOBODY: [&str; 4] = ["", "localhost", "localhost.localdomain", "(none)"];

const MACHINE_ID: &str = "/etc/machine-id";

/// `host/3f9a01c2`, or the host's name alone where the machine has no id.
pub fn of_host() -> Option<String> {
    let host = kernel::sysctl::read("kernel/hostname").unwrap_or_default();
    name(&host, &fs::read_to_string(MACHINE_ID).unwrap_or_default())
}

fn name(host: &str, machine_id: &str) -> Option<String> {
    // As the kubelet does.
    let host = host.trim().to_ascii_lowercase();
    if NOBODY.contains(&host.as_str()) || host.contains('/') {
        return None;
    }
    let id = machine_id.trim();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if is_id { format!("{host}/{:08x}", digest(id)) } else { host })
}

/// FNV-1a: the id itself is not to be told to others (`machine-id(5)`).
fn digest(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_one_image_that_share_a_name_are_told_apart_by_their_machine() {
        let ids = ["0123456789abcdef0123456789abcdef\n", "0123456789abcdef0123456789abcdee\n"];
        let names = ids.map(|id| name("Vagrant\n", id).unwrap());
        assert_ne!(names[0], names[1]);
        assert!(names[0].starts_with("vagrant/") && names[0].len() == "vagrant/".len() + 8, "{}", names[0]);
        assert_eq!(name("node-1", "").as_deref(), Some("node-1"));
        assert_eq!(name("node-1", "uninitialized").as_deref(), Some("node-1"));
    }

    #[test]
    fn a_name_that_many_hosts_have_is_none() {
        for host in ["", "localhost\n", "LOCALHOST", "(none)", "a/b"] {
            assert_eq!(name(host, "0123456789abcdef0123456789abcdef"), None, "{host}");
        }
    }
}
