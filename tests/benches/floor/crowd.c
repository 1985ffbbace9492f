// crowd BRIDGE N: attaches N namespaces to a bridge of the calling namespace, prints "holding" and keeps them until killed.
#include "attachment.h"

static char buffer[65536] __attribute__((aligned(8)));

static int new_namespace(int home) {
    if (unshare(CLONE_NEWNET)) fail("unshare", errno);
    int made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (made < 0 || setns(home, CLONE_NEWNET)) fail("namespace", errno);
    return made;
}

static void attach(int home, const char *bridge, int number) {
    struct batch b = {.bytes = buffer, .size = sizeof buffer};
    int s = netlink(NETLINK_ROUTE), sandbox = new_namespace(home);
    char host[16], text[32];
    snprintf(host, sizeof host, "crowd%05d", number);
    struct pair pair = {host, "eth0", link_index(s, bridge), sandbox, 1500, NULL};
    uint32_t last = add_pair(&b, &pair);
    submit(s, &b);
    int error = acknowledged(s, last);
    if (error) fail("veth", -error);
    close(s);

    if (setns(sandbox, CLONE_NEWNET)) fail("setns", errno);
    unsigned char ip[4], gateway[4];
    snprintf(text, sizeof text, "10.77.%d.%d", 200 + number / 250, 1 + number % 250);
    inet_pton(AF_INET, text, ip);
    inet_pton(AF_INET, "10.77.0.1", gateway);
    s = netlink(NETLINK_ROUTE);
    b.used = 0;
    set_up(&b, 2, 1, 0);
    last = add_address(&b, 2, AF_INET, ip, gateway);
    submit(s, &b);
    error = acknowledged(s, last);
    if (error) fail("sandbox", -error);
    close(s);
    if (setns(home, CLONE_NEWNET)) fail("setns", errno);
}

int main(int count, char **words) {
    if (count != 3) fail("usage: crowd BRIDGE N", EINVAL);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < atoi(words[2]); i++) attach(home, words[1], i);
    puts("holding");
    fflush(stdout);
    pause();
    return 0;
}
