/* SPDX-License-Identifier: MIT */
#ifndef UFM_POLICY_H
#define UFM_POLICY_H

/*
 * policy.h: who leaves. A policy orders the resident experts of one cache and answers one question:
 * which of them should give up its place to a newcomer? It is pure: no I/O, threads, clock or
 * randomness beyond its seed, so that `ufm replay` and the tests drive the code of production.
 *
 * Keys are dense: key = layer * experts + expert, below layers * experts.
 *
 * The cache calls, for each event (one layer's demand in one step; its members are pairwise
 * different, in rank order):
 *
 *     event(layer)                      the demand begins
 *     use(key, use)                     every member once, hit or not
 *     victim(newcomer, locked)          when a newcomer wants a place and none is empty
 *     remove(victim), insert(newcomer)  when the answer was a key; nothing after "keep them all"
 *
 * and when the cache shrinks, between events:
 *
 *     victim(UFM_KEY_NONE, locked), remove(victim)     for every place too many
 *
 * The places are the cache's main slots. The cache keeps a few more blocks in its ring; they are
 * resident for a reader but no business of the policy until they are inserted.
 */

#include <stdbool.h>
#include <stdint.h>
#include <ufm/ufm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a table or a rule changes. A field at the end of ufm_policy_config does not raise it: who
 * reads one looks at struct_size first. */
#define UFM_POLICY_ABI 3u
#define UFM_POLICY_HEADER(policy_name) \
	.abi_version = UFM_POLICY_ABI, .struct_size = sizeof(ufm_policy), .name = (policy_name)

#define UFM_KEY_NONE UINT32_MAX
#define UFM_NEVER UINT64_MAX

enum {
	/* May answer UFM_KEY_NONE: the newcomer passes through the ring without being kept. Its bound
	 * is min-bypass; without the flag it is min. */
	UFM_POLICY_MAY_BYPASS = 1u << 0,
	/* Needs ufm_policy_use.next_event: a bound, not a choice for an engine. */
	UFM_POLICY_OFFLINE = 1u << 1,
};

typedef struct ufm_policy_config {
	size_t struct_size;
	uint32_t layers, experts;
	uint32_t places; /* main slots at most, >= 1; a cache that is resized may have fewer, even 0 */
	uint64_t seed;
	/* [layers * experts], read by create alone: what a reload of the key costs for each byte of the
	 * place that it takes, relative to each other, e.g. ns a byte; finite, > 0. Where all places have
	 * one size that is what its whole reload costs. NULL: all alike. */
	const float *cost;
} ufm_policy_config;

typedef struct ufm_policy_use {
	uint64_t event;      /* number of the event, from 0 */
	uint64_t next_event; /* offline: the next event that demands this key; UFM_NEVER if none */
	uint32_t rank;       /* place within the event */
	uint32_t tokens;     /* tokens that demand it, >= 1 */
} ufm_policy_use;

typedef struct ufm_policy {
	uint32_t abi_version;
	uint32_t struct_size;
	const char *name;
	uint32_t flags;
	const char *source; /* the algorithm's origin, one line */

	/* All memory is taken here. UFM_ENOMEM; UFM_EINVAL: a cost is not finite and > 0. */
	ufm_status (*create)(const ufm_policy_config *config, void **state);
	void (*destroy)(void *state);
	void (*event)(void *state, uint32_t layer);
	void (*use)(void *state, uint32_t key, const ufm_policy_use *use);
	void (*insert)(void *state, uint32_t key);
	void (*remove)(void *state, uint32_t key);
	/* The inserted key that should leave for `newcomer`; locked[key] != 0 may not. lingering: the
	 * newcomer is still resident in the ring after it was removed or passed by, so that admitting
	 * it costs no copy. UFM_KEY_NONE: none is unlocked, or (MAY_BYPASS) none is worth less; for a
	 * lingering newcomer any policy may decline. newcomer UFM_KEY_NONE: a place goes away, so that
	 * no policy declines while a key is unlocked. */
	uint32_t (*victim)(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering);
	/* From now on what `victim` names for a newcomer that does not linger is worth less than this part of
	 * the newcomer, 0 < bar <= 1 (1 at first): fewer are admitted, those that gain most. NULL: the policy
	 * does not tell worths apart. */
	void (*set_bar)(void *state, float bar);
} ufm_policy;

#ifdef __cplusplus
}
#endif
#endif
