//! The spoof check on the way back: our elements, and the reference's chains that say the same.

use cni::Attachment;
use kernel::Mac;
use kernel::nft::{Nft, SetName, Transaction};

use super::{foreign, native};
use crate::error::Error;
use crate::handback::Held;

/// The sets that hold what a port may send.
pub const SETS: [SetName<'static>; 5] = native::SETS;

/// What the reference has no form for: source addresses that are checked (`ipspoofchk`).
#[must_use]
pub fn checks_addresses(held: &Held) -> bool {
    held.set != native::PORTS && held.set != native::MACS
}

/// Puts the reference's chains into a batch, for the port and the MAC address in our elements; nothing if it has them.
pub fn add(
    nft: &mut Nft,
    batch: &mut Transaction,
    (attachment, held): (&Attachment, &[&Held]),
) -> Result<(), Error> {
    if foreign::holds(nft, attachment)? {
        return Ok(());
    }
    for (port, mac) in held.iter().filter_map(|held| pair(held)) {
        foreign::add(batch, attachment, &port, mac);
    }
    Ok(())
}

/// Port and address of an element of `macs`.
fn pair(held: &Held) -> Option<(String, Mac)> {
    let key = &held.element.key;
    let address = key.as_bytes().get(16..22)?.first_chunk::<6>()?;
    (held.set == native::MACS).then_some((key.ifname_at(0)?, Mac(*address)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::nft::{Element, Value};

    #[test]
    fn port_and_address_read_back() {
        let mac = Mac([2, 0, 0, 0, 0, 5]);
        let held = |set| Held { set, element: Element::new(Value::ifname("veth6f0c").and(mac)) };
        assert_eq!(pair(&held(native::MACS)), Some(("veth6f0c".into(), mac)));
        assert_eq!(pair(&held(native::IPS4)), None);
        assert!(checks_addresses(&held(native::STRICT)) && !checks_addresses(&held(native::PORTS)));
    }
}
