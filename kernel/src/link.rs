//! Network interfaces: read by name or index, changed, deleted.

use crate::{
    BridgePort, Error, Ipip, Mac, PortState, Rtnl, Vxlan,
    abi::{af, iff, ifla, rtm},
    error::{Absent, During},
    link_wire::{collect, read_link},
    wire::Message,
};

/// Longest name that the kernel keeps as the main name; longer ones are alternative names.
const NAME: usize = 15;

/// A network interface as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number, unique in its namespace.
    pub index: u32,
    /// Its main name.
    pub name: String,
    /// `veth`, `bridge`, …; hardware and loopback have none.
    pub kind: Option<String>,
    /// Hardware address, if it has one of 48 bits.
    pub mac: Option<Mac>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Switched on by the administrator (`IFF_UP`).
    pub up: bool,
    /// Whether it can carry traffic.
    pub running: Operstate,
    /// Index of the bridge (or bond, …) that it is a port of.
    pub controller: Option<u32>,
    /// `IFLA_LINK`: the index of the other end of a veth, of the parent of a macvlan. It counts in the namespace
    /// `peer_netns`, if that is given.
    pub peer_index: Option<u32>,
    /// Number under which this namespace knows the namespace of the peer (`IFLA_LINK_NETNSID`).
    pub peer_netns: Option<i32>,
    /// How many users want it to receive all frames. A port of a bridge has one.
    pub promiscuity: u32,
    /// The administrator asked for all frames (`IFF_PROMISC`).
    pub promiscuous: bool,
    /// The administrator asked for all multicast frames (`IFF_ALLMULTI`).
    pub all_multicast: bool,
    /// How many packets wait at most, where a discipline does not say otherwise.
    pub txqlen: u32,
    /// Number of the table, if it is a VRF.
    pub vrf_table: Option<u32>,
    /// Parameters, if it is a VXLAN device.
    pub vxlan: Option<Vxlan>,
    /// Parameters, if it is an IP-in-IP device.
    pub ipip: Option<Ipip>,
    /// Free text that an administrator may have put on it.
    pub alias: Option<String>,
    /// Flags as a port of a bridge, if it is one.
    pub port: Option<BridgePort>,
    /// State as a port of a bridge, if it is one.
    pub port_state: Option<PortState>,
    /// Number as a port of a bridge, if it is one: the lowest that was free, from 1 on.
    pub port_number: Option<u16>,
}

/// Operational state of a link (RFC 2863, `linux/if.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operstate {
    /// Carries traffic.
    Up,
    /// Does not.
    Down,
    /// Waits for the link below it; what a veth shows whose peer is down.
    LowerLayerDown,
    /// Waits for an outside event.
    Dormant,
    /// Hardware is missing.
    NotPresent,
    /// In a test.
    Testing,
    /// The driver does not tell (loopback, tun): look at `up`.
    #[default]
    Unknown,
}

/// Whether a link receives frames that are not for its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promiscuity {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Which multicast frames a link receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multicast {
    /// All.
    All,
    /// Those of the groups that were joined.
    Joined,
}

impl Rtnl {
    /// The link with a name (main or alternative), or nothing.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let asked = self.channel.get(named_message(name), read_link);
        asked.during(|| format!("looking up link {name}")).absent_is_none()
    }

    /// The link with an index, or nothing.
    pub fn link_at(&mut self, index: u32) -> Result<Option<Link>, Error> {
        self.channel.get(get(index), read_link).during(|| format!("looking up link {index}")).absent_is_none()
    }

    /// All links. Not for hot paths.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.channel.dump(get(0), collect).during(|| "listing links".into())
    }

    /// The ports of a bridge (or other controller), filtered by the kernel.
    pub fn ports(&mut self, controller: u32) -> Result<Vec<Link>, Error> {
        let mut message = get(0);
        message.put_u32(ifla::MASTER, controller);
        self.channel.dump(message, collect).during(|| format!("listing the ports of link {controller}"))
    }

    /// Switches a link on.
    pub fn set_link_up(&mut self, index: u32) -> Result<(), Error> {
        self.change(set_flags(index, iff::UP, iff::UP), || format!("setting link {index} up"))
    }

    /// Switches a link off.
    pub fn set_link_down(&mut self, index: u32) -> Result<(), Error> {
        self.change(set_flags(index, 0, iff::UP), || format!("setting link {index} down"))
    }

    /// Gives a link a hardware address.
    pub fn set_link_mac(&mut self, index: u32, mac: Mac) -> Result<(), Error> {
        self.change(mac_message(index, mac), || format!("setting the MAC address of link {index} to {mac}"))
    }

    /// Sets the largest packet of a link, in bytes.
    pub fn set_link_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        let mut message = set(index);
        message.put_u32(ifla::MTU, mtu);
        self.change(message, || format!("setting the MTU of link {index} to {mtu}"))
    }

    /// Puts a free text on a link. An empty one takes it away.
    pub fn set_link_alias(&mut self, index: u32, alias: &str) -> Result<(), Error> {
        let mut message = set(index);
        message.put_text(ifla::IFALIAS, alias);
        self.change(message, || format!("setting the alias of link {index} to {alias:?}"))
    }

    /// Makes a link a port of a bridge, or of none.
    pub fn set_link_controller(&mut self, index: u32, controller: Option<u32>) -> Result<(), Error> {
        let mut message = set(index);
        message.put_u32(ifla::MASTER, controller.unwrap_or(0));
        self.change(message, || match controller {
            Some(controller) => format!("making link {index} a port of link {controller}"),
            None => format!("releasing link {index} from its controller"),
        })
    }

    /// Lets a link receive all frames, or not.
    pub fn set_link_promiscuous(&mut self, index: u32, promiscuity: Promiscuity) -> Result<(), Error> {
        let (flags, word) = match promiscuity {
            Promiscuity::On => (iff::PROMISC, "on"),
            Promiscuity::Off => (0, "off"),
        };
        let message = set_flags(index, flags, iff::PROMISC);
        self.change(message, || format!("switching promiscuous mode of link {index} {word}"))
    }

    /// Lets a link receive all multicast frames, or only those that are asked for.
    pub fn set_link_multicast(&mut self, index: u32, multicast: Multicast) -> Result<(), Error> {
        let (flags, word) = match multicast {
            Multicast::All => (iff::ALLMULTI, "all"),
            Multicast::Joined => (0, "only joined"),
        };
        let message = set_flags(index, flags, iff::ALLMULTI);
        self.change(message, || format!("letting link {index} receive {word} multicast frames"))
    }

    /// Sets how many packets wait at most on a link.
    pub fn set_link_txqlen(&mut self, index: u32, txqlen: u32) -> Result<(), Error> {
        let mut message = set(index);
        message.put_u32(ifla::TXQLEN, txqlen);
        self.change(message, || format!("setting the transmit queue of link {index} to {txqlen} packets"))
    }

    /// Makes a link announce its addresses to its neighbours: sets the MAC address that it has already, which the
    /// kernel treats as a change (`NETDEV_CHANGEADDR`). One gratuitous ARP for each IPv4 address is sent if
    /// `net/ipv4/conf/<name>/arp_notify` is 1, and one unsolicited neighbour advertisement for each usable IPv6
    /// address if `net/ipv6/conf/<name>/ndisc_notify` is 1. The link must be up. Its own neighbour entries
    /// are forgotten by this.
    pub fn announce(&mut self, link: &Link) -> Result<(), Error> {
        let mac = link
            .mac
            .ok_or_else(|| crate::wire::refused(nix::libc::ENODEV))
            .during(|| format!("announcing the addresses of link {}", link.name))?;
        self.set_link_mac(link.index, mac)
    }

    /// Deletes a link. That it is not there is success. Waits for the kernel's grace period (about 18 ms for a
    /// veth); [`crate::linger::delete_link_early`] does not.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        self.change(delete_message(index), || format!("deleting link {index}")).absent_is_fine()
    }
}

/// `struct ifinfomsg`
pub(crate) fn fixed(index: u32, flags: u32, change: u32) -> [[u8; 4]; 4] {
    [[af::UNSPEC, 0, 0, 0], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()]
}

fn get(index: u32) -> Message {
    let mut message = Message::new(rtm::GETLINK, 0, fixed(index, 0, 0).as_flattened());
    message.put_u32(ifla::EXT_MASK, ifla::SKIP_STATS);
    message
}

/// A question for the link with a name (main or alternative).
pub(crate) fn named_message(name: &str) -> Message {
    let mut message = get(0);
    let kind = if name.len() > NAME { ifla::ALT_IFNAME } else { ifla::IFNAME };
    message.put_text(kind, name);
    message
}

/// Up, for the link with a name.
pub(crate) fn up_message(name: &str) -> Message {
    let mut message = set_flags(0, iff::UP, iff::UP);
    message.put_text(ifla::IFNAME, name);
    message
}

/// A change to an existing link.
fn set(index: u32) -> Message {
    set_flags(index, 0, 0)
}

fn set_flags(index: u32, flags: u32, change: u32) -> Message {
    Message::new(rtm::NEWLINK, 0, fixed(index, flags, change).as_flattened())
}

/// The alias of a link by its name.
pub(crate) fn alias_message(name: &str, alias: &str) -> Message {
    let mut message = set(0);
    message.put_text(ifla::IFNAME, name);
    message.put_text(ifla::IFALIAS, alias);
    message
}

/// Up, and `net/ipv4/conf/<name>/arp_notify` is 1.
pub(crate) fn raise_message(index: u32) -> Message {
    let mut message = set_flags(index, iff::UP, iff::UP);
    message.nest(ifla::AF_SPEC, |families| {
        families.nest(u16::from(af::INET), |v4| {
            v4.nest(ifla::INET_CONF, |settings| settings.put_u32(ifla::ARP_NOTIFY, 1));
        });
    });
    message
}

pub(crate) fn mac_message(index: u32, mac: Mac) -> Message {
    let mut message = set(index);
    message.put(ifla::ADDRESS, &mac.0);
    message
}

pub(crate) fn delete_message(index: u32) -> Message {
    Message::new(rtm::DELLINK, 0, fixed(index, 0, 0).as_flattened())
}
