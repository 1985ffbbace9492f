//! `--ip-blackhole-route`: what is for this node's subnet and for no pod ends here, and does not go round by the default
//! route (flannel#2244).

use ipnetwork::IpNetwork;
use kernel::{Error, Route, Rtnl};
use overlay::{ROUTE_PROTOCOL, Subnets};

use crate::flags::Switch;

/// `RTN_BLACKHOLE`.
const BLACKHOLE: u8 = 6;
/// Worse than any route that somebody makes: the bridge's own wins while there is one, and its coming is no conflict.
const METRIC: u32 = 0x4900_0000;

/// The routes that should be there, and those of an earlier run that should not.
#[derive(Debug, Default)]
pub struct Blackhole {
    wanted: Vec<IpNetwork>,
    unwanted: Vec<IpNetwork>,
}

impl Blackhole {
    /// For this node's subnets, if the operator wants it; `previous` are those of the last run.
    pub fn new(choice: Switch, own: &Subnets, previous: &Subnets) -> Self {
        let wanted: Vec<IpNetwork> = own.iter().filter(|_| choice == Switch::On).collect();
        let mut unwanted: Vec<IpNetwork> = own.iter().chain(previous.iter()).collect();
        unwanted.retain(|subnet| !wanted.contains(subnet));
        Blackhole { wanted, unwanted }
    }

    /// Puts the routes in place; one that is there already is replaced by itself.
    pub fn ensure(&mut self, rtnl: &mut Rtnl) -> Result<(), Error> {
        for subnet in &self.wanted {
            rtnl.replace_route(&route(*subnet))?;
        }
        while let Some(subnet) = self.unwanted.last() {
            match rtnl.delete_route(&route(*subnet)) {
                Err(error) if !error.is_absent() => return Err(error),
                _ => self.unwanted.pop(),
            };
        }
        Ok(())
    }
}

fn route(subnet: IpNetwork) -> Route {
    Route { kind: BLACKHOLE, metric: Some(METRIC), protocol: ROUTE_PROTOCOL, ..Route::to(subnet) }
}
