// The messages of one attachment, as few as the kernel can do with: shared by the plugin and by the crowd.
#pragma once
#include "netlink.h"

struct pair {
    const char *host, *sandbox_name;
    int bridge, sandbox, mtu;
    const unsigned char *mac;
};

// One veth pair in one message, both ends where they belong, one queue each way; then hairpin. Returns the last sequence.
UNUSED uint32_t add_pair(struct batch *b, const struct pair *p) {
    struct ifinfomsg *link = begin(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
    link->ifi_flags = link->ifi_change = IFF_UP;
    attribute_text(b, IFLA_IFNAME, p->host);
    attribute_u32(b, IFLA_MASTER, p->bridge);
    attribute_u32(b, IFLA_MTU, p->mtu);
    attribute_u32(b, IFLA_NUM_TX_QUEUES, 1);
    attribute_u32(b, IFLA_NUM_RX_QUEUES, 1);
    struct rtattr *info = nest(b, IFLA_LINKINFO);
    attribute(b, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = nest(b, IFLA_INFO_DATA), *peer = nest(b, VETH_INFO_PEER);
    // Without IFF_UP: a peer cannot be opened before the pair is linked (ENOTCONN).
    take(b, sizeof(struct ifinfomsg));
    attribute_text(b, IFLA_IFNAME, p->sandbox_name);
    attribute_u32(b, IFLA_NET_NS_FD, p->sandbox);
    attribute_u32(b, IFLA_MTU, p->mtu);
    if (p->mac) attribute(b, IFLA_ADDRESS, p->mac, 6);
    attribute_u32(b, IFLA_NUM_TX_QUEUES, 1);
    attribute_u32(b, IFLA_NUM_RX_QUEUES, 1);
    unnest(b, peer);
    unnest(b, data);
    unnest(b, info);
    end(b);

    struct ifinfomsg *port = begin(b, RTM_NEWLINK, NLM_F_ACK, sizeof *port);
    (void)port;
    attribute_text(b, IFLA_IFNAME, p->host);
    info = nest(b, IFLA_LINKINFO);
    attribute(b, IFLA_INFO_SLAVE_KIND, "bridge", 6);
    data = nest(b, IFLA_INFO_SLAVE_DATA);
    attribute_u8(b, IFLA_BRPORT_MODE, 1);
    unnest(b, data);
    unnest(b, info);
    end(b);
    return b->sequence;
}

UNUSED void set_up(struct batch *b, int index, int up, int flags) {
    struct ifinfomsg *link = begin(b, RTM_NEWLINK, flags, sizeof *link);
    link->ifi_index = index;
    link->ifi_flags = up ? IFF_UP : 0;
    link->ifi_change = IFF_UP;
    end(b);
}

// Address and default route of one family. Returns the last sequence.
UNUSED uint32_t add_address(struct batch *b, int index, int family, const void *ip, const void *gateway) {
    int size = family == AF_INET ? 4 : 16;
    struct ifaddrmsg *address = begin(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *address);
    address->ifa_family = family;
    address->ifa_prefixlen = family == AF_INET ? 16 : 64;
    address->ifa_flags = family == AF_INET ? 0 : IFA_F_NODAD;
    address->ifa_index = index;
    attribute(b, IFA_LOCAL, ip, size);
    attribute(b, IFA_ADDRESS, ip, size);
    end(b);
    struct rtmsg *route = begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, sizeof *route);
    route->rtm_family = family;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_type = RTN_UNICAST;
    attribute(b, RTA_GATEWAY, gateway, size);
    attribute_u32(b, RTA_OIF, index);
    end(b);
    return b->sequence;
}
