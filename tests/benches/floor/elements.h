// Elements of the sets and maps of the table `ip pf` (rules.nft): the least that rules of an attachment take.
#pragma once
#include "netlink.h"
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

struct element {
    const void *key, *data;
    size_t key_size, data_size;
};

static void nft_begin(struct batch *b, int type, int flags, int family) {
    struct nfgenmsg *g = begin(b, type, flags, sizeof *g);
    g->nfgen_family = family;
    g->res_id = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END ? htons(NFNL_SUBSYS_NFTABLES) : 0;
}

static void value(struct batch *b, int type, const void *bytes, size_t size) {
    struct rtattr *outer = nest(b, type | NLA_F_NESTED);
    attribute(b, NFTA_DATA_VALUE, bytes, size);
    unnest(b, outer);
}

// Adds (NFT_MSG_NEWSETELEM) or deletes (NFT_MSG_DELSETELEM) elements, in one batch with one ACK.
//
// Returns the socket, open: closed after a deletion it would wait for an RCU grace period (perf-baseline §0.3).
static int change_elements(struct batch *b, int type, const char *set, const struct element *elements, int count) {
    int s = netlink(NETLINK_NETFILTER);
    b->used = 0;
    nft_begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC);
    end(b);
    int flags = NLM_F_ACK | (type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE | NLM_F_EXCL : 0);
    nft_begin(b, NFNL_SUBSYS_NFTABLES << 8 | type, flags, NFPROTO_IPV4);
    uint32_t sequence = b->sequence;
    attribute_text(b, NFTA_SET_ELEM_LIST_TABLE, "pf");
    attribute_text(b, NFTA_SET_ELEM_LIST_SET, set);
    struct rtattr *list = nest(b, NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
    for (const struct element *e = elements; e < elements + count; e++) {
        struct rtattr *element = nest(b, NFTA_LIST_ELEM | NLA_F_NESTED);
        value(b, NFTA_SET_ELEM_KEY, e->key, e->key_size);
        if (e->data && type == NFT_MSG_NEWSETELEM) value(b, NFTA_SET_ELEM_DATA, e->data, e->data_size);
        unnest(b, element);
    }
    unnest(b, list);
    end(b);
    nft_begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC);
    end(b);
    submit(s, b);
    int error = acknowledged(s, sequence);
    if (error) fail(set, -error);
    return s;
}

static int change_address(struct batch *b, int type, const char *set, uint32_t ip) {
    struct element element = {&ip, NULL, sizeof ip, 0};
    return change_elements(b, type, set, &element, 1);
}
