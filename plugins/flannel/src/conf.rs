//! What the network's configuration may say to this plugin.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// A JSON object as the user wrote it.
pub type Object = Map<String, Value>;

/// Where flanneld and ironbridged write the node's subnet.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";
/// Where the flannel plugin has always kept its delegates' configurations.
const DATA_DIR: &str = "/var/lib/cni/flannel";

/// The configuration as written. Keys match whatever their case, `null` and "" mean the default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetConf {
    /// Goes to the delegate as given; absent stays absent.
    pub cni_version: String,
    /// The network's name, which the delegate inherits.
    pub name: String,
    /// The daemon's file; "" means `/run/flannel/subnet.env`.
    pub subnet_file: PathBuf,
    /// Directory of the saved configurations; "" means `/var/lib/cni/flannel`.
    pub data_dir: PathBuf,
    /// Base of the delegate's configuration; without `name` and `ipam`.
    pub delegate: Option<Object>,
    /// Base of the delegate's `ipam`; `ranges` are replaced, `routes` extended.
    pub ipam: Option<Object>,
    /// Capability arguments, for the delegate.
    pub runtime_config: Option<Object>,
    /// Metadata (`args.cni.ips` and the like), for the delegate.
    pub args: Option<Object>,
    /// Result of an earlier plugin (ADD), or of the ADD (CHECK, DEL): kept as text, since the delegate reads it itself.
    pub prev_result: Option<Object>,
    /// GC: what is still in use, for the delegate.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Value>,
}

impl NetConf {
    /// The daemon's file.
    #[must_use]
    pub fn subnet_file(&self) -> &Path {
        or_default(&self.subnet_file, SUBNET_FILE)
    }

    /// The directory of the saved configurations.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        or_default(&self.data_dir, DATA_DIR)
    }
}

fn or_default<'a>(given: &'a Path, default: &'static str) -> &'a Path {
    if given.as_os_str().is_empty() { Path::new(default) } else { given }
}
