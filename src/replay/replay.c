/* SPDX-License-Identifier: MIT */
/* Caches and the loop over steps and layers. */
#include "replay/replay.h"

#include "base/alloc.h"
#include "base/status.h"
#include "policy/divided.h"
#include "policy/registry.h"
#include "replay/event.h"
#include "replay/future.h"
#include "replay/lanes.h"

typedef struct replay {
	const replay_config *config;
	lanes lanes;
	future own;
	const future *future; /* NULL: the policy needs none */
	event_scratch scratch;
	cache **caches; /* [cache_count]: one a layer, or one */
	uint32_t cache_count;
	uint32_t ring, together;
	admit admit;   /* with terms: as an engine whose CPU path is on */
	uint64_t read; /* members of the future that were passed */
	replay_count *layers;
} replay;

/* ------------------------------------------------------------------ caches */

static bool by_layer(const replay_config *config)
{
	return config->scope == REPLAY_LAYER;
}

/* A bound is not divided: it says what any division can reach. */
static const ufm_policy *policy_of(const replay_config *config)
{
	bool divided = config->scope == REPLAY_AUTO && !(config->policy->flags & UFM_POLICY_OFFLINE);

	return divided ? policy_divided(config->policy) : config->policy;
}

static void close_caches(replay *r)
{
	for (uint32_t i = 0; r->caches && i < r->cache_count; i++) {
		cache_close(r->caches[i]);
		r->caches[i] = NULL;
	}
}

static ufm_status open_caches(replay *r)
{
	const replay_config *c = r->config;
	uint32_t layers = by_layer(c) ? 1 : c->trace->layers, keys = layers * c->trace->experts;
	cache_config config = {.slots = c->slots < keys ? c->slots : keys,
	                       .ring = c->slots < keys ? c->ring : 0,
	                       .layers = layers,
	                       .experts = c->trace->experts,
	                       .policy = policy_of(c),
	                       .seed = c->seed};
	ufm_status status = UFM_OK;

	r->ring = config.ring;
	for (uint32_t i = 0; i < r->cache_count && status == UFM_OK; i++) {
		if (c->cost)
			config.cost = c->cost + (uint64_t)i * c->trace->experts;
		status = cache_open(&config, &r->caches[i]);
	}
	return status;
}

static ufm_status empty_caches(replay *r)
{
	close_caches(r);
	return open_caches(r);
}

/* ------------------------------------------------------------------ events */

static void read_future(replay *r, uint32_t n)
{
	const uint32_t *next = r->future->next + r->read;

	for (uint32_t i = 0; i < n; i++)
		r->lanes.members[i].next_event = next[i] == UINT32_MAX ? UFM_NEVER : next[i];
	r->read += n;
}

static void observe(const replay *r, const replay_event *event)
{
	const replay_observer *observer = r->config->observer;

	if (observer)
		observer->event(observer->self, event);
}

static ufm_status run_event(replay *r, uint32_t layer, uint32_t n, bool counted, uint32_t *hits)
{
	bool own = by_layer(r->config);
	cache *c = r->caches[own ? layer : 0];
	uint32_t at = own ? 0 : layer, first = at * r->lanes.trace->experts;

	observe(r, &(replay_event){.layer = layer,
	                           .cache = c,
	                           .first_key = first,
	                           .members = r->lanes.members,
	                           .count = n,
	                           .counted = counted});
	if (r->ring) {
		event_engine engine = {.together = r->together,
		                       .admit = r->admit.terms.copy_ns ? &r->admit : NULL};
		return event_run_as_engine(c, at, first, &engine, r->lanes.members, n, &r->scratch, hits);
	}
	*hits = event_run(c, at, first, r->lanes.members, n, &r->scratch);
	return UFM_OK;
}

static ufm_status run_step(replay *r, bool counted)
{
	ufm_status status = UFM_OK;

	for (uint32_t layer = 0; layer < r->lanes.trace->layers && status == UFM_OK; layer++) {
		uint32_t n = lanes_members(&r->lanes, layer), hits = 0;

		if (r->future)
			read_future(r, n);
		status = run_event(r, layer, n, counted, &hits);
		if (counted) {
			r->layers[layer].uses += n;
			r->layers[layer].hits += hits;
		}
	}
	return status;
}

static ufm_status run_steps(replay *r)
{
	const replay_config *c = r->config;
	ufm_status status = UFM_OK;

	for (uint64_t step = 0; status == UFM_OK && lanes_step(&r->lanes); step++) {
		if (c->steps && step >= c->warmup_steps && step - c->warmup_steps >= c->steps)
			break;
		if (c->cold && step && r->lanes.begins)
			status = empty_caches(r);
		if (status == UFM_OK)
			status = run_step(r, step >= c->warmup_steps);
	}
	return status;
}

/* ------------------------------------------------------------------ run */

static ufm_status check(const replay_config *c)
{
	uint64_t keys = (uint64_t)c->trace->layers * c->trace->experts;

	if (c->scope == REPLAY_AUTO && !policy_of(c))
		return status_fail(UFM_EINVAL, "policy: %s has none that divides a cache among layers",
		                   c->policy->name);
	if (c->slots < 1)
		return status_fail(UFM_EINVAL, "slots: 0, expected at least 1");
	if (c->batch < 1)
		return status_fail(UFM_EINVAL, "batch: 0, expected at least 1");
	if (keys >= UINT32_MAX)
		return status_fail(UFM_EINVAL,
		                   "trace: found %u layers of %u experts, expected fewer than "
		                   "2^32 - 1 in all",
		                   c->trace->layers, c->trace->experts);
	if (c->cold && c->batch > 1)
		return status_fail(
			UFM_EINVAL, "cold: with a batch of %u no sequence begins alone, expected 1", c->batch);
	if (c->ring && (c->ring < 2 || c->ring > c->slots))
		return status_fail(UFM_EINVAL, "ring: %u, expected 0 or 2 to the %u slots", c->ring,
		                   c->slots);
	if (c->ring && (c->policy->flags & UFM_POLICY_OFFLINE))
		return status_fail(UFM_EINVAL, "ring: %u with %s, a bound, which has none", c->ring,
		                   c->policy->name);
	if (c->part && c->part >= c->parts)
		return status_fail(UFM_EINVAL, "part: %u, expected less than parts (%u)", c->part,
		                   c->parts);
	return UFM_OK;
}

static ufm_status open_parts(replay *r, const replay_config *c)
{
	const trace *t = c->trace;
	ufm_status status;

	r->config = c;
	r->together = c->together ? c->together : 1;
	admit_open(&r->admit, &c->admit);
	r->cache_count = by_layer(c) ? t->layers : 1;
	r->layers = alloc_zeroed(t->layers, sizeof *r->layers);
	r->caches = alloc_zeroed(r->cache_count, sizeof(cache *));
	status = r->layers && r->caches ? lanes_open(c, &r->lanes) : UFM_ENOMEM;
	if (status == UFM_OK)
		status = event_scratch_open(r->lanes.members_max, t->experts, &r->scratch);
	if (status == UFM_OK && (c->policy->flags & UFM_POLICY_OFFLINE)) {
		r->future = c->future ? c->future : &r->own;
		status = c->future ? UFM_OK : future_open(c, &r->own);
	}
	return status == UFM_OK ? open_caches(r) : status;
}

static void close_parts(replay *r)
{
	close_caches(r);
	alloc_free(r->caches);
	event_scratch_close(&r->scratch);
	future_close(&r->own);
	lanes_close(&r->lanes);
	alloc_free(r->layers);
}

ufm_status replay_run(const replay_config *config, replay_count *total, replay_count *layers)
{
	replay r = {0};
	ufm_status status = check(config);

	if (status == UFM_OK)
		status = open_parts(&r, config);
	if (status == UFM_OK)
		status = run_steps(&r);
	*total = (replay_count){0};
	for (uint32_t i = 0; status == UFM_OK && i < config->trace->layers; i++) {
		total->uses += r.layers[i].uses;
		total->hits += r.layers[i].hits;
		if (layers)
			layers[i] = r.layers[i];
	}
	close_parts(&r);
	return status;
}

/* What passes through a ring was not admitted. */
const ufm_policy *replay_bound_of(const replay_config *config)
{
	bool admits = !(policy_of(config)->flags & UFM_POLICY_MAY_BYPASS) && config->ring == 0;

	return admits ? &policy_min : &policy_min_bypass;
}
