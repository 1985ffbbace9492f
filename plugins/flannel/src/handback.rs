//! What of our state flannel's own plugin would not find on the way back.

use std::path::PathBuf;

use cni::Call;

use crate::conf::NetConf;
use crate::error::Error;
use crate::state::{FIRST, Store};

/// The file of an attachment that has a name only we look for: its interface is not the first of the container.
pub fn hidden_state(call: &Call) -> Result<Option<PathBuf>, Error> {
    let conf: NetConf = call.conf()?;
    let path = Store::new(conf.data_dir()).path(&call.attachment());
    Ok((call.ifname != FIRST && path.exists()).then_some(path))
}
