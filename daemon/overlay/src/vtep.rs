//! What a node publishes about its tunnel ends: flannel's `BackendData` of vxlan, to the byte.

use serde_json::json;

use crate::backend_data::BackendData;
use crate::folded::Picked;
use crate::mac::Mac;

/// One end of a VXLAN tunnel as a lease carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vtep {
    /// The network identifier.
    pub vni: u32,
    /// The hardware address of the device.
    pub mac: Mac,
}

impl Vtep {
    /// `{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}`
    #[must_use]
    pub fn to_data(&self) -> BackendData {
        // Members are written in the order of their names, which is flannel's.
        json!({"VNI": self.vni, "VtepMAC": self.mac.to_string()}).into()
    }

    /// Reads a lease's data; the error says what is wrong with it.
    pub fn parse(data: Option<&BackendData>) -> Result<Vtep, String> {
        let data = data.ok_or("there is none")?.as_json();
        let members = Picked::parse(data.as_bytes(), ["VNI", "VtepMAC"])
            .map_err(|_| format!("{data} is no JSON object"))?;
        let text: String = members
            .decode("VtepMAC")
            .map_err(|e| format!("VtepMAC: {e}"))?
            .ok_or("VtepMAC is missing, the hardware address of the node's tunnel end")?;
        let mac: Mac = text.parse().map_err(|()| format!("VtepMAC {text:?} is no hardware address"))?;
        if !mac.is_unicast() {
            return Err(format!("VtepMAC {mac} is not the address of one device"));
        }
        let vni = members.decode("VNI").map_err(|e| format!("VNI: {e}"))?.unwrap_or(0);
        Ok(Vtep { vni, mac })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_flannels_to_the_byte_and_is_read_back() {
        let vtep = Vtep { vni: 1, mac: Mac([0xc6, 0xd2, 0x32, 0x6f, 0x8f, 0x44]) };
        assert_eq!(vtep.to_data().as_json(), r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#);
        assert_eq!(Vtep::parse(Some(&vtep.to_data())), Ok(vtep));
        let loud = json!({"vtepmac": "C6-D2-32-6F-8F-44", "vni": 1});
        assert_eq!(Vtep::parse(Some(&loud.into())), Ok(vtep));
    }

    #[test]
    fn broken_data_is_refused_with_what_is_wrong() {
        for (data, word) in [
            (json!("text"), "no JSON object"),
            (json!({"VNI": 1}), "VtepMAC is missing"),
            (json!({"VNI": 1, "VtepMAC": "c6:d2"}), "\"c6:d2\" is no hardware address"),
            (json!({"VNI": 1, "VtepMAC": "01:00:5e:00:00:01"}), "not the address of one device"),
            (json!({"VNI": 1, "VtepMAC": 7}), "VtepMAC: "),
            (json!({"VNI": -1, "VtepMAC": "c6:d2:32:6f:8f:44"}), "VNI: "),
        ] {
            let error = Vtep::parse(Some(&data.into())).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(Vtep::parse(None).unwrap_err().contains("there is none"));
    }
}
