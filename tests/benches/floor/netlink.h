// The floor's netlink: messages built in a buffer, sent in one system call, answered by the ACK of the last one.
// Static functions in a header, so that each program is one compilation unit without a build system.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused)) static

// Messages in the making; `header` is the one being written.
struct batch {
    char *bytes;
    size_t used, size;
    struct nlmsghdr *header;
    uint32_t sequence;
};

UNUSED void fail(const char *what, int error) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(error));
    exit(1);
}

UNUSED void *take(struct batch *b, size_t size) {
    size_t aligned = NLMSG_ALIGN(size);
    if (b->used + aligned > b->size) fail("batch", ENOBUFS);
    void *place = b->bytes + b->used;
    memset(place, 0, aligned);
    b->used += aligned;
    return place;
}

// Begins a message; the caller fills the returned family header.
UNUSED void *begin(struct batch *b, int type, int flags, size_t header_size) {
    b->header = take(b, NLMSG_HDRLEN);
    b->header->nlmsg_type = type;
    b->header->nlmsg_flags = NLM_F_REQUEST | flags;
    b->header->nlmsg_seq = ++b->sequence;
    return take(b, header_size);
}

UNUSED void end(struct batch *b) { b->header->nlmsg_len = (b->bytes + b->used) - (char *)b->header; }

UNUSED struct rtattr *attribute(struct batch *b, int type, const void *value, size_t size) {
    struct rtattr *a = take(b, RTA_LENGTH(size));
    a->rta_type = type;
    a->rta_len = RTA_LENGTH(size);
    if (size) memcpy(RTA_DATA(a), value, size);
    return a;
}

UNUSED void attribute_u8(struct batch *b, int type, uint8_t v) { attribute(b, type, &v, 1); }
UNUSED void attribute_u32(struct batch *b, int type, uint32_t v) { attribute(b, type, &v, 4); }
UNUSED void attribute_text(struct batch *b, int type, const char *v) { attribute(b, type, v, strlen(v) + 1); }
UNUSED struct rtattr *nest(struct batch *b, int type) { return attribute(b, type, NULL, 0); }
UNUSED void unnest(struct batch *b, struct rtattr *a) { a->rta_len = (b->bytes + b->used) - (char *)a; }

UNUSED int netlink(int protocol) {
    int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (s < 0) fail("socket", errno);
    return s;
}

UNUSED void submit(int s, struct batch *b) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(s, b->bytes, b->used, 0, (void *)&kernel, sizeof kernel) != (ssize_t)b->used) fail("send", errno);
}

// Waits for the ACK of message `last`; returns the first error (negative errno) of any message before it.
UNUSED int acknowledged(int s, uint32_t last) {
    static char answer[65536] __attribute__((aligned(8)));
    for (;;) {
        ssize_t n = recv(s, answer, sizeof answer, 0);
        if (n < 0) return -errno;
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type != NLMSG_ERROR) continue;
            int error = ((struct nlmsgerr *)NLMSG_DATA(h))->error;
            if (error || h->nlmsg_seq == last) return error;
        }
    }
}

// Reads a dump to its end.
UNUSED void drain(int s) {
    static char answer[65536] __attribute__((aligned(8)));
    for (;;) {
        ssize_t n = recv(s, answer, sizeof answer, 0);
        if (n < 0) fail("dump", errno);
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) return;
        }
    }
}

UNUSED int link_index(int s, const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    return ioctl(s, SIOCGIFINDEX, &request) < 0 ? 0 : request.ifr_ifindex;
}

UNUSED double microseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
