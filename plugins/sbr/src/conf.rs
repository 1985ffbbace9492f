//! The sbr plugin's configuration: as written ([`NetConf`]) and as meant ([`Conf`]).

use std::net::IpAddr;

use attach::Error;
use cni::Call;
use serde::Deserialize;

/// The configuration as written. Each key may be missing; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetConf {
    /// A table that is there and routes what comes from the addresses.
    pub table: Option<i64>,
    /// The next hops of default routes, one a family at most.
    pub gateways: Vec<String>,
    /// Keep the routes to the addresses' networks in the main table.
    pub add_source_hints: bool,
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conf {
    /// Rules alone, to a table that somebody else fills.
    Table(u32),
    /// A table for each address, filled with the interface's routes.
    Own(Own),
}

/// How own tables are filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Next hop of IPv4's default route, in the place of the address's gateway.
    pub gateway_v4: Option<IpAddr>,
    /// Next hop of IPv6's.
    pub gateway_v6: Option<IpAddr>,
    /// What stays in the main table.
    pub main: Main,
}

/// What of an interface's routes stays in the main table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Main {
    /// None.
    #[default]
    Emptied,
    /// Those to the addresses' networks, each with its address as preferred source: `addSourceHints`.
    Hints,
}

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Conf`] for values that cannot be meant.
    pub fn of(call: &Call) -> Result<Self, Error> {
        Self::check(&call.conf()?).map_err(|reason| Error::Conf { network: call.network.clone(), reason })
    }

    fn check(written: &NetConf) -> Result<Self, String> {
        if let Some(table) = written.table {
            let number = u32::try_from(table).ok().filter(|table| *table != 0);
            return number.map(Self::Table).ok_or_else(|| format!("table {table} is no number of a table"));
        }
        let main = if written.add_source_hints { Main::Hints } else { Main::Emptied };
        let mut own = Own { main, ..Own::default() };
        for text in &written.gateways {
            let gateway: IpAddr =
                text.parse().map_err(|_| format!("gateways has \"{text}\", which is no address"))?;
            let gateway = gateway.to_canonical();
            let place = if gateway.is_ipv4() { &mut own.gateway_v4 } else { &mut own.gateway_v6 };
            if let Some(other) = place.replace(gateway) {
                return Err(format!("gateways has {other} and {gateway}: one a family is the most"));
            }
        }
        Ok(Self::Own(own))
    }
}

impl Own {
    /// The next hop that the network's configuration gives to the family of `address`.
    #[must_use]
    pub fn gateway(&self, address: IpAddr) -> Option<IpAddr> {
        if address.is_ipv4() { self.gateway_v4 } else { self.gateway_v6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Conf, String> {
        Conf::check(&cni::from_json(json.as_bytes()).unwrap())
    }

    #[test]
    fn a_table_of_others_makes_the_rest_meaningless() {
        assert_eq!(
            read(r#"{"table":1000,"gateways":["nonsense"],"addSourceHints":true}"#),
            Ok(Conf::Table(1000))
        );
        for refused in ["0", "-1", "4294967296"] {
            assert!(read(&format!(r#"{{"table":{refused}}}"#)).unwrap_err().contains(refused));
        }
    }

    #[test]
    fn one_gateway_a_family() {
        let Ok(Conf::Own(own)) = read(r#"{"gateways":["192.0.2.1","fd00::1"]}"#) else { panic!() };
        assert_eq!(own.gateway([10, 0, 0, 1].into()), Some([192, 0, 2, 1].into()));
        assert_eq!(own.gateway("fd00::9".parse().unwrap()), "fd00::1".parse().ok());
        assert!(read(r#"{"gateways":["192.0.2.1","192.0.2.2"]}"#).unwrap_err().contains("192.0.2.2"));
        assert!(read(r#"{"gateways":["192.0.2"]}"#).is_err());
    }
}
