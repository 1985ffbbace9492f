// The floor of the chained plugins: each reads the result of the plugin before from its stdin, and prints it again.
#pragma once
#include "elements.h"
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <sys/stat.h>

#define MOST_PORTS 16

// What stands behind `word` in `text`: up to `end`, copied.
static const char *behind(const char *text, const char *word, char *copy, size_t size, char end) {
    const char *at = strstr(text, word);
    if (!at) return NULL;
    at += strlen(word);
    const char *stop = strchr(at, end);
    size_t length = stop ? (size_t)(stop - at) : 0;
    if (!stop || length >= size) fail(word, EINVAL);
    memcpy(copy, at, length);
    copy[length] = 0;
    return stop;
}

// The result before, as it came: from its brace to the one that ends the configuration.
static void pass_on(const char *config) {
    const char *result = strstr(config, "\"prevResult\":");
    if (!result) fail("prevResult", EINVAL);
    result += 13;
    ssize_t length = strrchr(result, '}') - result;
    if (write(1, result, length) != length) fail("stdout", errno);
}

static uint32_t pod_address(const char *config) {
    char text[64];
    uint32_t ip;
    const char *ips = strstr(config, "\"ips\":"), *address = ips ? strstr(ips, "\"address\":") : NULL;
    if (!address || !behind(address + 10, "\"", text, sizeof text, '/') || inet_pton(AF_INET, text, &ip) != 1)
        fail("address", EINVAL);
    return ip;
}

static void exchange(const char *path, const char *value) {
    char before[64];
    int file = open(path, O_RDWR | O_CLOEXEC);
    ssize_t n = read(file, before, sizeof before);
    if (n <= 0) fail(path, errno);
    ssize_t length = strlen(value);
    if ((n - 1 != length || memcmp(before, value, length)) && pwrite(file, value, length, 0) != length) fail(path, errno);
    close(file);
}

// A child holds the socket, whose close would wait, until this process is gone; as Ironbridge does.
static void leave_to_child(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) fail("pipe", errno);
    pid_t child = fork();
    if (child < 0) fail("fork", errno);
    if (child) return;
    char none;
    close(0), close(1), close(2), close(ends[1]);
    if (read(ends[0], &none, 1) != 0) _exit(1);
    // Closed earlier, the socket would wait with the ruleset locked, and so would the next DEL of the chain.
    usleep(25000);
    _exit(0);
}

// Old connections follow the rules: after an ADD they are looked for, after a DEL those led to the pod are forgotten.
static void look_at_connections(int add, struct batch *b, const struct element *elements, int count) {
    char tracked[16];
    int file = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
    if (read(file, tracked, sizeof tracked) <= 0) fail("nf_conntrack_count", errno);
    close(file);
    if (tracked[0] == '0') return;
    if (add) {
        static char list[65536];
        file = open("/proc/self/net/nf_conntrack", O_RDONLY | O_CLOEXEC);
        while (read(file, list, sizeof list) > 0);
        return;
    }
    b->used = 0;
    for (const struct element *e = elements; e < elements + count; e++) {
        const unsigned char *key = e->key, *target = e->data;
        struct nfgenmsg *g = begin(b, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, e == elements + count - 1 ? NLM_F_ACK : 0, sizeof *g);
        g->nfgen_family = AF_INET;
        struct rtattr *original = nest(b, CTA_TUPLE_ORIG | NLA_F_NESTED), *inner = nest(b, CTA_TUPLE_PROTO | NLA_F_NESTED);
        attribute_u8(b, CTA_PROTO_NUM, key[0]);
        attribute(b, CTA_PROTO_DST_PORT, key + 4, 2);
        unnest(b, inner);
        unnest(b, original);
        struct rtattr *reply = nest(b, CTA_TUPLE_REPLY | NLA_F_NESTED);
        inner = nest(b, CTA_TUPLE_IP | NLA_F_NESTED);
        attribute(b, CTA_IP_V4_SRC, target, 4);
        unnest(b, inner);
        inner = nest(b, CTA_TUPLE_PROTO | NLA_F_NESTED);
        attribute_u8(b, CTA_PROTO_NUM, key[0]);
        attribute(b, CTA_PROTO_SRC_PORT, target + 4, 2);
        unnest(b, inner);
        unnest(b, reply);
        // Protocol and port of the original tuple; address, protocol and port of the reply.
        struct rtattr *filter = nest(b, CTA_FILTER | NLA_F_NESTED);
        attribute_u32(b, 1, 1 << 3 | 1 << 5);
        attribute_u32(b, 2, 1 << 0 | 1 << 3 | 1 << 4);
        unnest(b, filter);
        end(b);
    }
    int s = netlink(NETLINK_NETFILTER);
    submit(s, b);
    int error = acknowledged(s, b->sequence);
    if (error) fail("connections", -error);
}

static void portmap(const char *config, int add, struct batch *b) {
    unsigned char keys[MOST_PORTS][8] = {{0}}, targets[MOST_PORTS][8] = {{0}};
    struct element elements[MOST_PORTS];
    char text[16];
    int count = 0;
    const char *at = strstr(config, "\"portMappings\":[");
    const char *stop = at ? strchr(at, ']') : NULL;
    uint32_t ip = pod_address(config);
    while (at && (at = strchr(at, '{')) && at < stop && count < MOST_PORTS) {
        unsigned char *key = keys[count], *target = targets[count];
        char entry[256];
        const char *next = behind(at, "{", entry, sizeof entry, '}');
        unsigned short host = 0, inside = 0;
        if (behind(entry, "\"protocol\":\"", text, sizeof text, '"')) key[0] = strcmp(text, "udp") ? 6 : 17;
        const char *number = strstr(entry, "\"hostPort\":");
        if (number) host = htons(atoi(number + 11));
        number = strstr(entry, "\"containerPort\":");
        if (number) inside = htons(atoi(number + 16));
        memcpy(key + 4, &host, 2);
        memcpy(target, &ip, 4);
        memcpy(target + 4, &inside, 2);
        elements[count++] = (struct element){key, target, 8, 8};
        at = next;
    }
    if (count && add) {
        exchange("/proc/sys/net/ipv4/conf/pfbr0/route_localnet", "1");
        change_elements(b, NFT_MSG_NEWSETELEM, "pfports", elements, count);
    } else if (count) {
        change_elements(b, NFT_MSG_DELSETELEM, "pfports", elements, count);
    }
    if (count) look_at_connections(add, b, elements, count);
    if (count && !add) leave_to_child();
    if (add) pass_on(config);
}

static void firewall(const char *config, int add, struct batch *b) {
    change_address(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, "pffire", pod_address(config));
    if (add)
        pass_on(config);
    else
        leave_to_child();
}

// Index of the other end of the sandbox's link, and its MTU.
static int look_inside(int s, struct batch *b, const char *ifname, uint32_t *index, uint32_t *mtu) {
    char answer[8192] __attribute__((aligned(8)));
    int peer = 0;
    b->used = 0;
    begin(b, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
    attribute_text(b, IFLA_IFNAME, ifname);
    end(b);
    submit(s, b);
    ssize_t n = recv(s, answer, sizeof answer, 0);
    struct nlmsghdr *h = (void *)answer;
    if (n < 0 || h->nlmsg_type != RTM_NEWLINK) fail(ifname, ENODEV);
    struct ifinfomsg *link = NLMSG_DATA(h);
    *index = link->ifi_index;
    int left = IFLA_PAYLOAD(h);
    for (struct rtattr *a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFLA_LINK) peer = *(int *)RTA_DATA(a);
        if (a->rta_type == IFLA_MTU) *mtu = *(uint32_t *)RTA_DATA(a);
    }
    return peer;
}

// Two sysctls and the MTU, whose earlier values go into a file.
static void tuning(const char *config, const char *container, const char *ifname, struct batch *b) {
    char folder[256], path[512], text[128];
    if (!behind(config, "\"dataDir\":\"", folder, sizeof folder, '"')) fail("dataDir", EINVAL);
    exchange("/proc/sys/net/core/somaxconn", "500");
    exchange("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65000");
    uint32_t index = 0, mtu = 0;
    int s = netlink(NETLINK_ROUTE);
    look_inside(s, b, ifname, &index, &mtu);
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/%s_%s.json", folder, container, ifname);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int length = snprintf(text, sizeof text, "{\n \"mtu\": %u\n}", mtu);
    if (write(file, text, length) != length) fail(path, errno);
    close(file);
    b->used = 0;
    struct ifinfomsg *link = begin(b, RTM_NEWLINK, NLM_F_ACK, sizeof *link);
    link->ifi_index = index;
    attribute_u32(b, IFLA_MTU, 1400);
    end(b);
    submit(s, b);
    int error = acknowledged(s, b->sequence);
    if (error) fail("mtu", -error);
    pass_on(config);
}

static void forget_tuning(const char *config, const char *container, const char *ifname) {
    char folder[256], path[512];
    if (!behind(config, "\"dataDir\":\"", folder, sizeof folder, '"')) fail("dataDir", EINVAL);
    snprintf(path, sizeof path, "%s/%s_%s.json", folder, container, ifname);
    unlink(path);
}

static struct tcmsg *discipline(struct batch *b, int index, uint32_t parent, uint32_t handle, const char *kind) {
    struct tcmsg *tc = begin(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, sizeof *tc);
    tc->tcm_ifindex = index;
    tc->tcm_parent = parent;
    tc->tcm_handle = handle;
    attribute_text(b, TCA_KIND, kind);
    return tc;
}

// 100 Mbit/s with a burst of 10 Mbit.
static void bucket(struct batch *b, int index) {
    discipline(b, index, TC_H_ROOT, 1 << 16, "tbf");
    struct tc_tbf_qopt limit = {.rate = {.linklayer = 1, .rate = 12500000}, .limit = 1562500, .buffer = 1562500};
    struct rtattr *options = nest(b, TCA_OPTIONS);
    attribute(b, TCA_TBF_PARMS, &limit, sizeof limit);
    unnest(b, options);
    end(b);
}

// Everything that comes in on `index` leaves by `to`.
static void redirect(struct batch *b, int index, int to) {
    discipline(b, index, TC_H_INGRESS, 0xffff0000, "ingress");
    end(b);
    struct tcmsg *tc = begin(b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, sizeof *tc);
    tc->tcm_ifindex = index;
    tc->tcm_parent = 0xffff0000;
    tc->tcm_info = 1 << 16 | htons(3); // ETH_P_ALL
    attribute_text(b, TCA_KIND, "u32");
    struct rtattr *options = nest(b, TCA_OPTIONS);
    struct {
        struct tc_u32_sel sel;
        struct tc_u32_key key;
    } all = {.sel = {.flags = TC_U32_TERMINAL, .nkeys = 1}};
    attribute(b, TCA_U32_SEL, &all, sizeof all);
    struct rtattr *actions = nest(b, TCA_U32_ACT), *first = nest(b, 1);
    attribute_text(b, TCA_ACT_KIND, "mirred");
    struct rtattr *inner = nest(b, TCA_ACT_OPTIONS);
    struct tc_mirred mirred = {.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = to};
    attribute(b, TCA_MIRRED_PARMS, &mirred, sizeof mirred);
    unnest(b, inner);
    unnest(b, first);
    unnest(b, actions);
    unnest(b, options);
    end(b);
}

static void ifb_name(char name[16], unsigned number) { snprintf(name, 16, "ifb%08x", number); }

static void bandwidth(const char *config, int end_index, unsigned number, struct batch *b) {
    char name[16];
    ifb_name(name, number);
    int s = netlink(NETLINK_ROUTE);
    b->used = 0;
    struct ifinfomsg *link = begin(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, sizeof *link);
    link->ifi_flags = link->ifi_change = IFF_UP;
    attribute_text(b, IFLA_IFNAME, name);
    attribute_u32(b, IFLA_MTU, 1500);
    attribute_u32(b, IFLA_NUM_TX_QUEUES, 1);
    attribute_u32(b, IFLA_NUM_RX_QUEUES, 1);
    struct rtattr *info = nest(b, IFLA_LINKINFO);
    attribute(b, IFLA_INFO_KIND, "ifb", 3);
    unnest(b, info);
    end(b);
    submit(s, b);
    int error = acknowledged(s, b->sequence);
    if (error) fail(name, -error);
    int ifb = link_index(s, name);
    b->used = 0;
    bucket(b, end_index);
    bucket(b, ifb);
    redirect(b, end_index, ifb);
    submit(s, b);
    error = acknowledged(s, b->sequence);
    if (error) fail("limits", -error);
    pass_on(config);
}
