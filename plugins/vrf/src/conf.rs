//! The vrf plugin's configuration: as written ([`NetConf`]) and as meant ([`Conf`]).

use attach::Error;
use cni::Call;
use serde::Deserialize;

/// Longest name of an interface.
const NAME: usize = 15;

/// The configuration as written. Unknown keys are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NetConf {
    /// Name of the VRF device.
    pub vrfname: String,
    /// Number of its table; 0 leaves the choice.
    pub table: u32,
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Name of the VRF device.
    pub name: String,
    /// Number of its table, if that matters.
    pub table: Option<u32>,
}

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Conf`] for values that cannot be meant.
    pub fn of(call: &Call) -> Result<Self, Error> {
        Self::check(call.conf()?).map_err(|reason| Error::Conf { network: call.network.clone(), reason })
    }

    fn check(written: NetConf) -> Result<Self, String> {
        let name = written.vrfname;
        let strange = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
        if name.is_empty() || name.len() > NAME || name == "." || name == ".." || name.contains(strange) {
            return Err(format!("vrfname \"{name}\" is not an interface name of 1 to {NAME} bytes"));
        }
        Ok(Self { name, table: (written.table != 0).then_some(written.table) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_needed_and_must_be_one() {
        let read = |json: &str| Conf::check(cni::from_json(json.as_bytes()).unwrap());
        assert_eq!(read(r#"{"vrfName":"blue","table":7}"#), Ok(Conf { name: "blue".into(), table: Some(7) }));
        assert_eq!(read(r#"{"vrfname":"blue"}"#).unwrap().table, None);
        for json in ["{}", r#"{"vrfname":"a/b"}"#, r#"{"vrfname":".."}"#, r#"{"vrfname":"sixteen-bytes-12"}"#]
        {
            assert!(read(json).unwrap_err().contains("vrfname"), "{json}");
        }
    }
}
