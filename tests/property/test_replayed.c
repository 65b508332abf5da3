/* SPDX-License-Identifier: MIT */
/* An engine's hits against a replay of its routing, use for use: with the CPU path off, and with it on, where it
 * depends on timing who computes a miss but not who is admitted, or on a fixed share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "pager/pager.h"
#include "policy/registry.h"
#include "replay/event.h"
#include "support/fixture.h"

#define CASES 40
#define STEPS 60
#define TOKENS_MAX 4
#define TOP_K_MAX 4
#define EXPERTS_MAX 32

typedef struct mirror {
	cache *cache;
	event_scratch scratch;
	admit admit;
	uint64_t hits;
} mirror;

static void mirror_open(mirror *m, fixture *f, const admit_terms *terms)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f->engine, &info);
	cache_config config = {.slots = info.slots,
	                       .ring = info.ring_slots,
	                       .layers = f->c.layers,
	                       .experts = f->c.experts,
	                       .policy = policy_find(info.policy)};
	memset(m, 0, sizeof *m);
	assert_int_equal(cache_open(&config, &m->cache), UFM_OK);
	assert_int_equal(event_scratch_open(EXPERTS_MAX, EXPERTS_MAX, &m->scratch), UFM_OK);
	admit_open(&m->admit, terms);
}

static void mirror_close(mirror *m)
{
	cache_close(m->cache);
	event_scratch_close(&m->scratch);
}

/* Gives whether there was a free place for every miss, of which then the CPU computes none. */
static bool mirror_step(mirror *m, fixture *f, uint32_t layer, const int32_t *ids)
{
	cache_member members[EXPERTS_MAX];
	uint32_t counts[EXPERTS_MAX], hits;
	cache_stats before;
	schedule_demand demands[EXPERTS_MAX];
	event_engine engine = {.together = pager_copies_together(f->engine),
	                       .admit = f->c.cpu_assist == UFM_CPU_ON ? &m->admit : NULL,
	                       .shares_always = f->c.cpu_share_percent != 0};
	uint32_t n =
		schedule_demands(ids, (uint64_t)f->c.tokens * f->c.top_k, f->c.experts, counts, demands);
	for (uint32_t i = 0; i < n; i++)
		members[i] = (cache_member){
			.expert = demands[i].expert, .tokens = demands[i].tokens, .next_event = UFM_NEVER};
	cache_get_stats(m->cache, &before);
	assert_int_equal(event_run_as_engine(m->cache, layer, layer * f->c.experts, &engine, members, n,
	                                     &m->scratch, &hits),
	                 UFM_OK);
	m->hits += hits;
	return n > hits && n - hits <= before.free_places;
}

static void engine_step(fixture *f, uint32_t layer, const int32_t *ids)
{
	static float gates[TOKENS_MAX * TOP_K_MAX];
	ufm_moe_call call;
	ufm_ticket ticket;
	UFM_STRUCT_INIT(&call);
	call.tokens = f->c.tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	call.ids = ids;
	call.gates = gates;
	if (ufm_moe_forward(f->layers[layer], &call, &ticket) != UFM_OK)
		fail_msg("%s", ufm_last_error());
	assert_int_equal(ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER), UFM_OK);
}

/* Some experts are liked more than others, and a token likes what the one before liked. */
static void choose_ids(const fixture_config *c, rng *r, int32_t *ids)
{
	for (uint32_t t = 0; t < c->tokens; t++) {
		for (uint32_t k = 0; k < c->top_k; k++) {
			int32_t *id = &ids[t * c->top_k + k];
			bool again = true;
			while (again) {
				uint32_t of = rng_below(r, 3) ? c->experts : (c->experts + 2) / 3;
				if (*id < 0 || rng_below(r, 2))
					*id = (int32_t)rng_below(r, of);
				again = false;
				for (uint32_t j = 0; j < k; j++)
					again |= ids[t * c->top_k + j] == *id;
				if (again)
					*id = -1;
			}
		}
	}
}

static fixture_config random_case(uint64_t seed, bool cpu, uint32_t share_percent)
{
	static const char *const policies[] = {"cycle", "lru", "freq", "s3fifo"};
	fixture_config c = {.seed = seed, .no_residual = 1};
	rng r;
	rng_seed(&r, seed);
	c.layers = 1 + rng_below(&r, FIXTURE_LAYERS_MAX);
	c.experts = 12 + rng_below(&r, EXPERTS_MAX - 11);
	c.top_k = 1 + rng_below(&r, TOP_K_MAX);
	c.tokens = 1 + rng_below(&r, c.top_k > 2 ? 2 : TOKENS_MAX);
	/* of a broad event only those are admitted that the link brings, which depends on timing */
	if (cpu)
		c.tokens = 1;
	c.d_model = 1 + rng_below(&r, 40);
	c.d_hidden = 1 + rng_below(&r, 60);
	c.policy = policies[rng_below(&r, 4)];
	/* room for every event beside a ring of four */
	uint32_t least = c.tokens * c.top_k + 4;
	uint32_t most = c.layers * c.experts - 1;
	c.slots_max = least >= most ? most : least + rng_below(&r, most - least);
	c.cpu_assist = cpu ? UFM_CPU_ON : UFM_CPU_OFF;
	c.cpu_threads = cpu ? 2 : 0;
	c.cpu_share_percent = share_percent;
	/* a link so slow that the CPU has much to do */
	if (strcmp(fixture_backend()->name, "cpu") == 0)
		c.link_gbps = 0.02;
	return c;
}

typedef struct tally {
	uint64_t late, on_cpu, admitted;
} tally;

static void run_case(uint64_t seed, bool cpu, uint32_t share_percent, tally *sum)
{
	static int32_t ids[FIXTURE_LAYERS_MAX][TOKENS_MAX * TOP_K_MAX];
	fixture_config c = random_case(seed, cpu, share_percent);
	admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 10 + 40 * (seed % 5)};
	fixture f;
	mirror m;
	rng r;
	rng_seed(&r, seed + 77);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	fixture_fill_x(&f, 0);
	if (cpu)
		pager_pin_admission(f.engine, &terms);
	mirror_open(&m, &f, &terms);
	uint64_t before = 0; /* of cpu_uses */
	memset(ids, 0xff, sizeof ids);
	for (uint32_t step = 0; step < STEPS; step++) {
		for (uint32_t layer = 0; layer < f.c.layers; layer++) {
			choose_ids(&f.c, &r, ids[layer]);
			engine_step(&f, layer, ids[layer]);
			bool fills = mirror_step(&m, &f, layer, ids[layer]);
			uint64_t on_cpu = fixture_counter(&f, "cpu_uses");
			assert_true(!fills || share_percent || on_cpu == before);
			before = on_cpu;
			uint64_t late = fixture_counter(&f, "late_uses");
			uint64_t hits = fixture_counter(&f, "resident_uses") + late;
			if (hits != m.hits)
				fail_msg(
					"seed %llu, cpu %d, share %u, step %u, layer %u: %llu hits, the replay has "
					"%llu",
					(unsigned long long)seed, cpu, share_percent, step, layer,
					(unsigned long long)hits, (unsigned long long)m.hits);
		}
	}
	assert_int_equal(fixture_identities(&f), 0);
	sum->late += fixture_counter(&f, "late_uses");
	sum->on_cpu += fixture_counter(&f, "cpu_uses");
	sum->admitted += fixture_counter(&f, "admitted_loads");
	mirror_close(&m);
	fixture_close(&f);
}

static void hits_are_the_replays_with_the_path_off(void **state)
{
	tally sum = {0};
	(void)state;
	for (uint64_t seed = 0; seed < CASES; seed++)
		run_case(seed, false, 0, &sum);
	assert_int_equal(sum.late + sum.on_cpu + sum.admitted, 0);
}

static void hits_are_the_replays_with_the_path_on(void **state)
{
	tally sum = {0};
	(void)state;
	for (uint64_t seed = 0; seed < CASES; seed++)
		run_case(seed, true, 0, &sum);
	print_message("%llu by the CPU, %llu of them copied later, %llu late uses\n",
	              (unsigned long long)sum.on_cpu, (unsigned long long)sum.admitted,
	              (unsigned long long)sum.late);
	assert_true(sum.on_cpu > CASES && sum.admitted > CASES);
}

/* The CPU's share is its own even where places are free, so that the link brings other experts then. */
static void hits_are_the_replays_with_a_fixed_share(void **state)
{
	tally sum = {0};
	(void)state;
	for (uint64_t seed = 0; seed < CASES; seed++)
		run_case(seed, true, 1 + (uint32_t)(seed * 37 % 100), &sum);
	assert_true(sum.on_cpu > CASES && sum.admitted > CASES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hits_are_the_replays_with_the_path_off),
		cmocka_unit_test(hits_are_the_replays_with_the_path_on),
		cmocka_unit_test(hits_are_the_replays_with_a_fixed_share),
	};
	return cmocka_run_group_tests_name("replayed", tests, NULL, NULL);
}
