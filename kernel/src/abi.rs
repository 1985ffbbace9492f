//! Numbers of the kernel's rtnetlink interface, each group from the header that its comment names.

/// `linux/rtnetlink.h`: message types.
pub(crate) mod rtm {
    pub(crate) const NEWLINK: u16 = 16;
    pub(crate) const DELLINK: u16 = 17;
    pub(crate) const GETLINK: u16 = 18;
    pub(crate) const NEWADDR: u16 = 20;
    pub(crate) const DELADDR: u16 = 21;
    pub(crate) const GETADDR: u16 = 22;
    pub(crate) const NEWROUTE: u16 = 24;
    pub(crate) const DELROUTE: u16 = 25;
    pub(crate) const GETROUTE: u16 = 26;
    pub(crate) const NEWNEIGH: u16 = 28;
    pub(crate) const DELNEIGH: u16 = 29;
    pub(crate) const GETNEIGH: u16 = 30;
    pub(crate) const NEWRULE: u16 = 32;
    pub(crate) const DELRULE: u16 = 33;
    pub(crate) const GETRULE: u16 = 34;
    pub(crate) const NEWQDISC: u16 = 36;
    pub(crate) const DELQDISC: u16 = 37;
    pub(crate) const GETQDISC: u16 = 38;
    pub(crate) const NEWTCLASS: u16 = 40;
    pub(crate) const GETTCLASS: u16 = 42;
    pub(crate) const NEWTFILTER: u16 = 44;
    pub(crate) const GETTFILTER: u16 = 46;
    pub(crate) const NEWNETCONF: u16 = 80;
    pub(crate) const NEWNEXTHOP: u16 = 104;
    pub(crate) const DELNEXTHOP: u16 = 105;
    pub(crate) const GETNEXTHOP: u16 = 106;
    pub(crate) const NEWLINKPROP: u16 = 108;
}

/// `linux/netlink.h`: message flags. The modifiers of a get and of a new request share bits.
pub(crate) mod nlm {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const ECHO: u16 = 0x8;
    pub(crate) const DUMP_INTR: u16 = 0x10;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCL: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
    /// On an error: only the header of the request is echoed.
    pub(crate) const CAPPED: u16 = 0x100;
    /// On an error: extended-acknowledgement attributes follow.
    pub(crate) const ACK_TLVS: u16 = 0x200;
}

/// `linux/if_link.h`: attributes of a link.
pub(crate) mod ifla {
    pub(crate) const ADDRESS: u16 = 1;
    pub(crate) const IFNAME: u16 = 3;
    pub(crate) const MTU: u16 = 4;
    pub(crate) const LINK: u16 = 5;
    pub(crate) const MASTER: u16 = 10;
    pub(crate) const TXQLEN: u16 = 13;
    pub(crate) const OPERSTATE: u16 = 16;
    pub(crate) const LINKINFO: u16 = 18;
    pub(crate) const IFALIAS: u16 = 20;
    pub(crate) const AF_SPEC: u16 = 26;
    /// `IFLA_INET_CONF` and `IPV4_DEVCONF_ARP_NOTIFY`, within `AF_SPEC`.
    pub(crate) const INET_CONF: u16 = 1;
    pub(crate) const ARP_NOTIFY: u16 = 22;
    /// `IFLA_INET6_ADDR_GEN_MODE` and `IN6_ADDR_GEN_MODE_NONE`, within `AF_SPEC`.
    pub(crate) const INET6_ADDR_GEN_MODE: u16 = 8;
    pub(crate) const ADDR_GEN_NONE: u8 = 1;
    pub(crate) const NET_NS_FD: u16 = 28;
    pub(crate) const EXT_MASK: u16 = 29;
    pub(crate) const PROMISCUITY: u16 = 30;
    pub(crate) const NUM_TX_QUEUES: u16 = 31;
    pub(crate) const NUM_RX_QUEUES: u16 = 32;
    pub(crate) const LINK_NETNSID: u16 = 37;
    pub(crate) const PROP_LIST: u16 = 52;
    pub(crate) const ALT_IFNAME: u16 = 53;

    /// `IFLA_VRF_TABLE`, of the data of a VRF.
    pub(crate) const VRF_TABLE: u16 = 1;

    pub(crate) const INFO_KIND: u16 = 1;
    pub(crate) const INFO_DATA: u16 = 2;
    pub(crate) const INFO_SLAVE_KIND: u16 = 4;
    pub(crate) const INFO_SLAVE_DATA: u16 = 5;

    /// `linux/veth.h`
    pub(crate) const VETH_INFO_PEER: u16 = 1;

    pub(crate) const BRPORT_STATE: u16 = 1;
    pub(crate) const BRPORT_MODE: u16 = 4;
    pub(crate) const BRPORT_NO: u16 = 18;
    pub(crate) const BRPORT_ISOLATED: u16 = 33;

    /// Value of `EXT_MASK`: `RTEXT_FILTER_SKIP_STATS`, leaves the counters of IPv6 (about 500 bytes) out of an answer.
    pub(crate) const SKIP_STATS: u32 = 1 << 3;
}

/// `linux/if_link.h`: data of a VXLAN device (`IFLA_VXLAN_*`).
pub(crate) mod vxlan {
    pub(crate) const ID: u16 = 1;
    pub(crate) const GROUP: u16 = 2;
    pub(crate) const LINK: u16 = 3;
    pub(crate) const LOCAL: u16 = 4;
    pub(crate) const LEARNING: u16 = 7;
    pub(crate) const L2MISS: u16 = 13;
    pub(crate) const PORT: u16 = 15;
    pub(crate) const GROUP6: u16 = 16;
    pub(crate) const LOCAL6: u16 = 17;
    pub(crate) const GBP: u16 = 23;
}

/// `linux/if_tunnel.h`: data of an IP-in-IP device (`IFLA_IPTUN_*`).
pub(crate) mod iptun {
    pub(crate) const LOCAL: u16 = 2;
    pub(crate) const REMOTE: u16 = 3;
    pub(crate) const PMTUDISC: u16 = 10;
}

/// `linux/if.h`: flags of a link.
pub(crate) mod iff {
    pub(crate) const UP: u32 = 0x1;
    pub(crate) const PROMISC: u32 = 0x100;
    pub(crate) const ALLMULTI: u32 = 0x200;
}

/// `linux/if_addr.h`
pub(crate) mod ifa {
    pub(crate) const ADDRESS: u16 = 1;
    pub(crate) const LOCAL: u16 = 2;
    pub(crate) const BROADCAST: u16 = 4;
    pub(crate) const FLAGS: u16 = 8;

    pub(crate) const F_SECONDARY: u32 = 0x01;
    pub(crate) const F_NODAD: u32 = 0x02;
    pub(crate) const F_DADFAILED: u32 = 0x08;
    pub(crate) const F_TENTATIVE: u32 = 0x40;
    pub(crate) const F_PERMANENT: u32 = 0x80;
}

/// `linux/rtnetlink.h`: attributes and values of a route.
pub(crate) mod rta {
    pub(crate) const DST: u16 = 1;
    pub(crate) const OIF: u16 = 4;
    pub(crate) const GATEWAY: u16 = 5;
    pub(crate) const PRIORITY: u16 = 6;
    pub(crate) const PREFSRC: u16 = 7;
    pub(crate) const METRICS: u16 = 8;
    pub(crate) const MULTIPATH: u16 = 9;
    pub(crate) const TABLE: u16 = 15;
    pub(crate) const VIA: u16 = 18;
    pub(crate) const NH_ID: u16 = 30;

    pub(crate) const METRIC_MTU: u16 = 2;
    pub(crate) const METRIC_ADVMSS: u16 = 8;

    /// `RTNH_F_ONLINK`
    pub(crate) const ONLINK: u32 = 4;
}

/// `linux/nexthop.h`
pub(crate) mod nha {
    pub(crate) const ID: u16 = 1;
    pub(crate) const OIF: u16 = 5;
    pub(crate) const GATEWAY: u16 = 6;
}

/// `linux/neighbour.h`
pub(crate) mod nda {
    pub(crate) const DST: u16 = 1;
    pub(crate) const LLADDR: u16 = 2;
    pub(crate) const IFINDEX: u16 = 8;
    pub(crate) const MASTER: u16 = 9;
}

/// `linux/socket.h`: address families as the one byte that rtnetlink headers carry.
pub(crate) mod af {
    pub(crate) const UNSPEC: u8 = 0;
    pub(crate) const INET: u8 = 2;
    pub(crate) const BRIDGE: u8 = 7;
    pub(crate) const INET6: u8 = 10;
}

/// `linux/fib_rules.h`
pub(crate) mod fra {
    pub(crate) const SRC: u16 = 2;
    pub(crate) const PRIORITY: u16 = 6;
    pub(crate) const TABLE: u16 = 15;
    pub(crate) const PROTOCOL: u16 = 21;
    /// What a rule may ask for beside source and table: destination, incoming link, jump, mark, mark's mask, tunnel,
    /// outgoing link, layer 3 master, user, protocol, ports, DSCP, flow label.
    pub(crate) const SELECTORS: [u16; 14] = [1, 3, 4, 10, 16, 12, 17, 19, 20, 22, 23, 24, 25, 26];
    /// `FR_ACT_TO_TBL`
    pub(crate) const TO_TABLE: u8 = 1;
}

/// `linux/rtnetlink.h` and `linux/pkt_sched.h`: attributes of traffic control.
pub(crate) mod tca {
    pub(crate) const KIND: u16 = 1;
    pub(crate) const OPTIONS: u16 = 2;

    pub(crate) const TBF_PARMS: u16 = 1;
    pub(crate) const TBF_RATE64: u16 = 4;
    pub(crate) const TBF_BURST: u16 = 6;

    pub(crate) const HTB_PARMS: u16 = 1;
    pub(crate) const HTB_INIT: u16 = 2;
    pub(crate) const HTB_RATE64: u16 = 6;
    pub(crate) const HTB_CEIL64: u16 = 7;

    /// `linux/pkt_cls.h`
    pub(crate) const U32_CLASSID: u16 = 1;
    pub(crate) const U32_SEL: u16 = 5;
    pub(crate) const U32_ACT: u16 = 7;

    pub(crate) const ACT_KIND: u16 = 1;
    pub(crate) const ACT_OPTIONS: u16 = 2;
    /// `linux/tc_act/tc_mirred.h`
    pub(crate) const MIRRED_PARMS: u16 = 2;
}
