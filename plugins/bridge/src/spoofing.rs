//! Which source addresses of a sandbox the bridge checks: `macspoofchk` and our own `ipspoofchk`.

use crate::conf::NetConf;

/// Which source addresses of the sandbox are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoofing {
    /// None.
    Unchecked,
    /// MAC addresses (`macspoofchk`).
    Mac,
    /// MAC and IP addresses (`ipspoofchk`).
    Addresses,
}

impl Spoofing {
    /// An address can only be checked on a port whose MAC address is: the other check alone would be none.
    pub(crate) fn of(written: &NetConf) -> Result<Self, String> {
        match (written.ipspoofchk, written.macspoofchk) {
            (true, _) if written.ipam.kind.is_empty() => {
                Err("ipspoofchk needs addresses, but ipam.type is not set; macspoofchk works without".into())
            }
            (true, _) => Ok(Self::Addresses),
            (false, true) => Ok(Self::Mac),
            (false, false) => Ok(Self::Unchecked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_of_addresses_is_one_of_mac_addresses_too() {
        for (json, spoofing) in [
            ("{}", Spoofing::Unchecked),
            (r#"{"macspoofchk":true}"#, Spoofing::Mac),
            (r#"{"ipspoofchk":true,"ipam":{"type":"x"}}"#, Spoofing::Addresses),
            (r#"{"macspoofchk":true,"ipspoofchk":true,"ipam":{"type":"x"}}"#, Spoofing::Addresses),
        ] {
            assert_eq!(Spoofing::of(&cni::from_json(json.as_bytes()).unwrap()).unwrap(), spoofing, "{json}");
        }
    }
}
