/* SPDX-License-Identifier: MIT */
/*
 * What the tokens of every layer were routed to: a ring of fixed size for each layer.
 *
 * Tokens are numbered by layer, from 0, in the order in which the layer routed them. A model whose layers
 * all route the same tokens in the same order has one number for a token.
 */
#ifndef UFM_TELEMETRY_ROUTING_H
#define UFM_TELEMETRY_ROUTING_H

#include <stdint.h>
#include <ufm/ufm.h>

#define ROUTING_NONE UINT16_MAX
#define ROUTING_EXPERTS_MAX 65535u

typedef struct routing_config {
	uint32_t layers, experts; /* >= 1 */
	uint32_t ranks;           /* most experts of a token, >= 1 */
	uint64_t ring_bytes;
} routing_config;

typedef struct routing routing;

/* Takes all memory that recording will ever need, and touches it. UFM_EINVAL names routing_bytes: it does not
 * hold one token of every layer, or there are more experts than ROUTING_EXPERTS_MAX. UFM_ENOMEM. */
ufm_status routing_open(const routing_config *config, routing **out);
void routing_close(routing *r); /* NULL is allowed */

/* A layer's next tokens, ids [tokens, top_k] by rank, top_k <= ranks. An id outside the experts is left out.
 * When the ring is full a layer's oldest tokens go. Any thread; allocates nothing. r NULL: does nothing. */
void routing_add(routing *r, uint32_t layer, const int32_t *ids, uint32_t tokens, uint32_t top_k);

/* The tokens of which every layer that has routed any is still known. Of one (token, layer) the ids are
 * pairwise different, the first of equal ones is kept; fewer than `ranks` end with ROUTING_NONE. */
typedef struct routing_table {
	ufm_routing_info info;
	uint32_t layers, experts, ranks;
	uint64_t sequence_tokens; /* sequences follow each other; each has as many */
	uint16_t *ids;            /* [info.tokens, layers, ranks] */
} routing_table;

/* `sequences` >= 1: tokens whose numbers differ by a multiple of it are one sequence; what is not known of
 * all of them is left out. UFM_ENOMEM. */
ufm_status routing_copy(routing *r, uint32_t sequences, routing_table *out);
void routing_table_close(routing_table *table); /* a zeroed one is allowed */

#endif
