// One element of the set `pfmasq` of the table `ip pf` (masquerade.nft): the least that masquerading an attachment takes.
#pragma once
#include "netlink.h"
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

static void nft_begin(struct batch *b, int type, int flags, int family) {
    struct nfgenmsg *g = begin(b, type, flags, sizeof *g);
    g->nfgen_family = family;
    g->res_id = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END ? htons(NFNL_SUBSYS_NFTABLES) : 0;
}

// Adds (NFT_MSG_NEWSETELEM) or deletes (NFT_MSG_DELSETELEM) an address, in one batch with one ACK.
static void masquerade(struct batch *b, int type, uint32_t ip) {
    int s = netlink(NETLINK_NETFILTER);
    b->used = 0;
    nft_begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC);
    end(b);
    int flags = NLM_F_ACK | (type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
    nft_begin(b, NFNL_SUBSYS_NFTABLES << 8 | type, flags, NFPROTO_IPV4);
    uint32_t element_sequence = b->sequence;
    attribute_text(b, NFTA_SET_ELEM_LIST_TABLE, "pf");
    attribute_text(b, NFTA_SET_ELEM_LIST_SET, "pfmasq");
    struct rtattr *list = nest(b, NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
    struct rtattr *element = nest(b, NFTA_LIST_ELEM | NLA_F_NESTED);
    struct rtattr *key = nest(b, NFTA_SET_ELEM_KEY | NLA_F_NESTED);
    attribute(b, NFTA_DATA_VALUE, &ip, 4);
    unnest(b, key);
    unnest(b, element);
    unnest(b, list);
    end(b);
    nft_begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC);
    end(b);
    submit(s, b);
    int error = acknowledged(s, element_sequence);
    if (error) fail("masquerade", -error);
    // The socket stays open: closed after a deletion it would wait for an RCU grace period (perf-baseline §0.3).
}
