// The floor: the least work that a process can do for ADD and DEL of loopback, bridge with host-local, host-local, and of
// the chained plugins (chained.h), with the same semantics as far as they cost anything: files, lock, checks of the bridge,
// links, addresses, routes, rules, result.
//
// Not a plugin for use. It knows the bench's network only: bridge pfbr0, 10.77.0.0/16 and fd00:77::/64; it derives the
// address from the digits at the end of CNI_CONTAINERID, searches its stdin for words instead of parsing it, and looks
// for no mistakes. DEL leaves the kernel's RCU barriers to a child, as Ironbridge does. Chosen by the name it runs under.
#include "attachment.h"
#include "chained.h"
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>

static char config[65536], buffer[65536] __attribute__((aligned(8)));

struct request {
    int add, dual, masquerade;
    const char *container, *netns, *ifname;
    unsigned index;
    char v4[32], v6[48];
};

static void read_request(struct request *r) {
    ssize_t used = 0, n;
    while ((n = read(0, config + used, sizeof config - 1 - used)) > 0) used += n;
    const char *verb = getenv("CNI_COMMAND");
    r->add = verb && !strcmp(verb, "ADD");
    r->container = getenv("CNI_CONTAINERID");
    r->netns = getenv("CNI_NETNS");
    r->ifname = getenv("CNI_IFNAME");
    if (!r->container || !r->netns || !r->ifname) fail("environment", EINVAL);
    size_t length = strlen(r->container);
    r->index = strtoul(r->container + (length > 5 ? length - 5 : 0), NULL, 10);
    r->dual = strstr(config, "fd00:77::") != NULL;
    r->masquerade = strstr(config, "\"ipMasq\":true") != NULL;
    snprintf(r->v4, sizeof r->v4, "10.77.%u.%u", 64 + r->index / 256 % 128, r->index % 256);
    snprintf(r->v6, sizeof r->v6, "fd00:77::%x", 4096 + r->index);
}

static void say(const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (write(1, text, n) != n) fail("stdout", errno);
}

static void reserve(int folder, const struct request *r, const char *address, const char *cursor) {
    char text[512];
    int last = openat(folder, cursor, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (read(last, text, sizeof text) < 0) fail(cursor, errno);
    int file = openat(folder, address, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) fail(address, errno);
    int n = snprintf(text, sizeof text, "%s\r\n%s", r->container, r->ifname);
    if (write(file, text, n) != n || pwrite(last, address, strlen(address), 0) < 0) fail(address, errno);
    close(file);
    close(last);
}

// host-local's files, without the look for an earlier reservation of the same owner.
static void ipam(const struct request *r) {
    char path[512];
    char *at = strstr(config, "\"dataDir\":\"");
    if (!at || sscanf(at + 11, "%500[^\"]", path) != 1) fail("dataDir", EINVAL);
    mkdir(path, 0755);
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int lock = openat(folder, "lock", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (lock < 0 || flock(lock, LOCK_EX)) fail(path, errno);
    if (r->add) {
        reserve(folder, r, r->v4, "last_reserved_ip.0");
        if (r->dual) reserve(folder, r, r->v6, "last_reserved_ip.1");
    } else {
        unlinkat(folder, r->v4, 0);
        if (r->dual) unlinkat(folder, r->v6, 0);
    }
    close(lock);
    close(folder);
}

static int open_sandbox(const struct request *r) {
    int sandbox = open(r->netns, O_RDONLY | O_CLOEXEC);
    if (sandbox < 0) fail(r->netns, errno);
    return sandbox;
}

static void ask_link(int s, struct batch *b, int index, const char *name) {
    b->used = 0;
    struct ifinfomsg *link = begin(b, RTM_GETLINK, 0, sizeof *link);
    link->ifi_index = index;
    if (name) attribute_text(b, IFLA_IFNAME, name);
    end(b);
    submit(s, b);
    char answer[8192];
    if (recv(s, answer, sizeof answer, 0) < 0) fail("link", errno);
}

// What a bridge plugin cannot do without looking: the bridge's state, its addresses, forwarding.
static void look_at_bridge(int s, struct batch *b, int bridge) {
    ask_link(s, b, bridge, NULL);
    b->used = 0;
    struct ifaddrmsg *address = begin(b, RTM_GETADDR, NLM_F_DUMP, sizeof *address);
    address->ifa_family = AF_INET;
    end(b);
    submit(s, b);
    drain(s);
    char forwarding;
    int file = open("/proc/sys/net/ipv4/ip_forward", O_RDONLY | O_CLOEXEC);
    if (read(file, &forwarding, 1) != 1) fail("ip_forward", errno);
    close(file);
}

// The sandbox's IPv6 address of the link is usable at once, as the reference and Ironbridge have it. Otherwise the kernel begins
// within a second, after the floor's end, to tell all ports of the bridge of it.
static void skip_duplicate_detection(const char *ifname) {
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_dad", ifname);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "0", 1) != 1) fail(path, errno);
    close(file);
}

static void configure(const struct request *r, struct batch *b, int sandbox) {
    if (setns(sandbox, CLONE_NEWNET)) fail("setns", errno);
    unsigned char ip[16], gateway[16];
    skip_duplicate_detection(r->ifname);
    int s = netlink(NETLINK_ROUTE), index = link_index(s, r->ifname);
    b->used = 0;
    set_up(b, index, 1, 0);
    inet_pton(AF_INET, r->v4, ip);
    inet_pton(AF_INET, "10.77.0.1", gateway);
    uint32_t last = add_address(b, index, AF_INET, ip, gateway);
    if (r->dual) {
        b->header->nlmsg_flags &= ~NLM_F_ACK;
        inet_pton(AF_INET6, r->v6, ip);
        inet_pton(AF_INET6, "fd00:77::1", gateway);
        last = add_address(b, index, AF_INET6, ip, gateway);
    }
    submit(s, b);
    int error = acknowledged(s, last);
    if (error) fail("sandbox", -error);
}

static void bridge_add(const struct request *r, struct batch *b) {
    ipam(r);
    int sandbox = open_sandbox(r), s = netlink(NETLINK_ROUTE), bridge = link_index(s, "pfbr0");
    if (!bridge) fail("pfbr0", ENODEV);
    look_at_bridge(s, b, bridge);
    char host[16];
    snprintf(host, sizeof host, "veth%08x", r->index);
    unsigned char mac[6] = {0x0a, 0x58, 10, 77, r->index >> 8 & 255, r->index & 255};
    struct pair pair = {host, r->ifname, bridge, sandbox, 1500, mac};
    b->used = 0;
    uint32_t last = add_pair(b, &pair);
    submit(s, b);
    int error = acknowledged(s, last);
    if (error) fail("veth", -error);
    uint32_t ip;
    inet_pton(AF_INET, r->v4, &ip);
    if (r->masquerade) change_address(b, NFT_MSG_NEWSETELEM, "pfmasq", ip);
    configure(r, b, sandbox);
    ask_link(s, b, 0, host);
    say("{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"pfbr0\"},{\"name\":\"%s\"},{\"name\":\"%s\",\"sandbox\":\"%s\"}],"
        "\"ips\":[{\"interface\":2,\"address\":\"%s/16\",\"gateway\":\"10.77.0.1\"}],\"dns\":{}}",
        host, r->ifname, r->netns, r->v4);
}

// A child sends RTM_DELLINK and waits in the kernel's barrier; the caller returns when the link is gone.
static void delete_link(int s, struct batch *b, int index) {
    struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int monitor = netlink(NETLINK_ROUTE);
    if (bind(monitor, (void *)&links, sizeof links)) fail("monitor", errno);
    pid_t child = fork();
    if (child < 0) fail("fork", errno);
    if (!child) {
        close(0), close(1), close(2);
        b->used = 0;
        struct ifinfomsg *link = begin(b, RTM_DELLINK, 0, sizeof *link);
        link->ifi_index = index;
        end(b);
        submit(s, b);
        _exit(0);
    }
    for (;;) {
        ssize_t n = recv(monitor, buffer, sizeof buffer, 0);
        if (n < 0) fail("monitor", errno);
        for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            struct ifinfomsg *gone = NLMSG_DATA(h);
            if (h->nlmsg_type == RTM_DELLINK && gone->ifi_family == AF_UNSPEC && gone->ifi_index == index) return;
        }
    }
}

static void bridge_del(const struct request *r, struct batch *b) {
    uint32_t ip;
    inet_pton(AF_INET, r->v4, &ip);
    if (r->masquerade) change_address(b, NFT_MSG_DELSETELEM, "pfmasq", ip);
    if (setns(open_sandbox(r), CLONE_NEWNET)) fail("setns", errno);
    int s = netlink(NETLINK_ROUTE), index = link_index(s, r->ifname);
    if (index) delete_link(s, b, index);
    ipam(r);
}

static void loopback(const struct request *r, struct batch *b) {
    if (setns(open_sandbox(r), CLONE_NEWNET)) fail("setns", errno);
    int s = netlink(NETLINK_ROUTE);
    set_up(b, 1, r->add, NLM_F_ACK);
    submit(s, b);
    int error = acknowledged(s, b->sequence);
    if (error) fail("lo", -error);
    if (r->add)
        say("{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\"}],"
            "\"ips\":[{\"interface\":0,\"address\":\"127.0.0.1/8\"}],\"dns\":{}}");
}

static void host_local(const struct request *r) {
    ipam(r);
    if (r->add) say("{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"%s/16\",\"gateway\":\"10.77.0.1\"}],\"dns\":{}}", r->v4);
}

static void limit_bandwidth(const struct request *r, struct batch *b) {
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0 || setns(open_sandbox(r), CLONE_NEWNET)) fail("setns", errno);
    uint32_t index, mtu;
    int end_index = look_inside(netlink(NETLINK_ROUTE), b, r->ifname, &index, &mtu);
    if (setns(home, CLONE_NEWNET)) fail("setns", errno);
    if (r->add) return bandwidth(config, end_index, r->index, b);
    char name[16];
    ifb_name(name, r->index);
    int s = netlink(NETLINK_ROUTE);
    delete_link(s, b, link_index(s, name));
}

static void tune(const struct request *r, struct batch *b) {
    if (!r->add) return forget_tuning(config, r->container, r->ifname);
    if (setns(open_sandbox(r), CLONE_NEWNET)) fail("setns", errno);
    tuning(config, r->container, r->ifname, b);
}

int main(int count, char **words) {
    (void)count;
    const char *slash = strrchr(words[0], '/'), *name = slash ? slash + 1 : words[0];
    struct batch b = {.bytes = buffer, .size = sizeof buffer};
    static struct request r;
    read_request(&r);
    if (!strcmp(name, "bridge"))
        r.add ? bridge_add(&r, &b) : bridge_del(&r, &b);
    else if (!strcmp(name, "loopback"))
        loopback(&r, &b);
    else if (!strcmp(name, "host-local"))
        host_local(&r);
    else if (!strcmp(name, "portmap"))
        portmap(config, r.add, &b);
    else if (!strcmp(name, "firewall"))
        firewall(config, r.add, &b);
    else if (!strcmp(name, "tuning"))
        tune(&r, &b);
    else if (!strcmp(name, "bandwidth"))
        limit_bandwidth(&r, &b);
    else
        fail(name, ENOSYS);
    return 0;
}
