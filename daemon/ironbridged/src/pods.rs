//! Pods of an earlier run: which subnet their bridge is in.

use kernel::{Error, Rtnl};
use overlay::{Pods, Subnets};

/// The subnets of the last run that a bridge with ports has its gateway address in. What cannot be read is a warning:
/// a node without its subnet serves nobody.
pub fn of_last_run(previous: &Subnets) -> Option<Pods> {
    match Rtnl::open().and_then(|mut rtnl| find(&mut rtnl, previous)) {
        Ok(pods) => pods,
        Err(error) => {
            tracing::warn!(%error, "whether pods of an earlier run are there cannot be seen");
            None
        }
    }
}

fn find(rtnl: &mut Rtnl, previous: &Subnets) -> Result<Option<Pods>, Error> {
    if previous.iter().next().is_none() {
        return Ok(None);
    }
    let addresses = rtnl.all_addresses()?;
    let links = rtnl.links()?;
    for bridge in links.iter().filter(|link| link.kind.as_deref() == Some("bridge")) {
        let is_gateway_in = |subnet: &ipnetwork::IpNetwork| {
            addresses.iter().any(|address| {
                let own = address.network;
                address.index == bridge.index
                    && own.prefix() == subnet.prefix()
                    && own.network() == subnet.ip()
                    && own.ip() != subnet.ip()
            })
        };
        let subnets =
            Subnets { v4: previous.v4.filter(&is_gateway_in), v6: previous.v6.filter(&is_gateway_in) };
        let has_ports = || links.iter().any(|link| link.controller == Some(bridge.index));
        if subnets.iter().next().is_some() && has_ports() {
            return Ok(Some(Pods { subnets, bridge: bridge.name.clone() }));
        }
    }
    Ok(None)
}
