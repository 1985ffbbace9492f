// routes routes DEV N: N routes through N gateways by nexthop objects, 500 messages a system call: the least that a daemon can do
// for N leases that come at once. Prints the microseconds that it took, and takes the routes away again.
// routes tunnel DEV N: DEV is a VXLAN device and the gateways are tunnel ends, each with a neighbour and a forwarding
// entry. These go with DEV.
#include "netlink.h"
#include <linux/nexthop.h>

#define TOGETHER 500
#define FIRST_ID 500000

static int tunnel;
static char buffer[1 << 20] __attribute__((aligned(8)));

static uint32_t destination(int i) { return htonl((20u << 24) + ((uint32_t)i << 8)); }
static uint32_t host(int i) { return htonl((10u << 24) + (200u << 16) + i + 2); }

static struct ndmsg *begin_entry(struct batch *b, int family, int device, int flags) {
    struct ndmsg *entry = begin(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL | flags, sizeof *entry);
    entry->ndm_family = family;
    entry->ndm_ifindex = device;
    entry->ndm_state = NUD_PERMANENT;
    return entry;
}

static void put_entry_addresses(struct batch *b, int i, uint32_t to) {
    unsigned char mac[6] = {2, 0, 0, i >> 16, i >> 8, i};
    attribute(b, NDA_LLADDR, mac, sizeof mac);
    attribute(b, NDA_DST, &to, 4);
    end(b);
}

static void put_neighbour(struct batch *b, int device, int i, int flags) {
    begin_entry(b, AF_INET, device, flags);
    put_entry_addresses(b, i, destination(i));
}

static void put_forwarding(struct batch *b, int device, int i, int flags) {
    struct ndmsg *entry = begin_entry(b, AF_BRIDGE, device, flags);
    entry->ndm_state |= NUD_NOARP;
    entry->ndm_flags = NTF_SELF;
    put_entry_addresses(b, i, host(i));
}

static void put_nexthop(struct batch *b, int device, int i, int flags) {
    uint32_t gateway = tunnel ? destination(i) : host(i);
    struct nhmsg *hop = begin(b, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL | flags, sizeof *hop);
    hop->nh_family = AF_INET;
    hop->nh_flags = tunnel ? RTNH_F_ONLINK : 0;
    hop->nh_protocol = RTPROT_BOOT;
    attribute_u32(b, NHA_ID, FIRST_ID + i);
    attribute_u32(b, NHA_OIF, device);
    attribute(b, NHA_GATEWAY, &gateway, 4);
    end(b);
}

static void put_route(struct batch *b, int device, int i, int flags) {
    (void)device;
    uint32_t to = destination(i);
    struct rtmsg *route = begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | flags, sizeof *route);
    route->rtm_family = AF_INET;
    route->rtm_dst_len = 24;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_type = RTN_UNICAST;
    attribute(b, RTA_DST, &to, 4);
    attribute_u32(b, RTA_NH_ID, FIRST_ID + i);
    end(b);
}

// Its routes go with it.
static void drop_nexthop(struct batch *b, int device, int i, int flags) {
    (void)device;
    struct nhmsg *hop = begin(b, RTM_DELNEXTHOP, flags, sizeof *hop);
    hop->nh_family = AF_UNSPEC;
    attribute_u32(b, NHA_ID, FIRST_ID + i);
    end(b);
}

static void all(int s, int device, int total, void (*put)(struct batch *, int, int, int)) {
    struct batch b = {.bytes = buffer, .size = sizeof buffer};
    for (int i = 0; i < total; i++) {
        int last = i % TOGETHER == TOGETHER - 1 || i == total - 1;
        put(&b, device, i, last ? NLM_F_ACK : 0);
        if (!last) continue;
        submit(s, &b);
        int error = acknowledged(s, b.sequence);
        if (error) fail("routes", -error);
        b.used = 0;
    }
}

int main(int count, char **words) {
    if (count != 4) fail("usage: routes routes|tunnel DEV N", EINVAL);
    tunnel = !strcmp(words[1], "tunnel");
    int s = netlink(NETLINK_ROUTE), size = 16 << 20, device = link_index(s, words[2]), total = atoi(words[3]);
    setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    double began = microseconds();
    if (tunnel) {
        all(s, device, total, put_neighbour);
        all(s, device, total, put_forwarding);
    }
    all(s, device, total, put_nexthop);
    all(s, device, total, put_route);
    printf("%.1f\n", microseconds() - began);
    all(s, device, total, drop_nexthop);
    return 0;
}
