/* SPDX-License-Identifier: MIT */
/* Experts in every storage format: a layer gives the same whatever the budget, and what the same experts give in f32 (on
 * the cpu backend, whose kernels sum in one order, the same bits). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "support/assert_error.h"
#include "support/fixture.h"

#define STEPS 2
#define TOKENS_MAX 12
#define WIDTH_MAX (2 * STORAGE_STEP)

static float outputs[STEPS][TOKENS_MAX * WIDTH_MAX];
static uint64_t seed;

static bool backend_reads(const storage *s)
{
	const ufm_backend *b = fixture_backend();

	return storage_is_read(s, b->dtypes, b->formats);
}

static void open_model(fixture *f, const fixture_config *c, const char *what)
{
	if (fixture_open(f, c) != UFM_OK)
		fail_msg("seed %llu: %s: %s", (unsigned long long)seed, what, ufm_last_error());
}

static void run(fixture *f, uint64_t step, const char *what)
{
	if (fixture_run(f, step) != UFM_OK)
		fail_msg("seed %llu: %s: %s", (unsigned long long)seed, what, ufm_last_error());
}

static void keep_outputs(fixture *f, const char *what)
{
	for (uint64_t step = 0; step < STEPS; step++) {
		run(f, step, what);
		memcpy(outputs[step], f->y, (size_t)f->c.tokens * f->c.d_model * sizeof *f->y);
		for (size_t i = 0; i < (size_t)f->c.tokens * f->c.d_model; i++)
			assert_true(f->y[i] - f->y[i] == 0.0f);
	}
}

static void compare_outputs(const fixture_config *c, const char *what)
{
	fixture f;

	open_model(&f, c, what);
	for (uint64_t step = 0; step < STEPS; step++) {
		run(&f, step, what);
		if (!fixture_agrees(&f, outputs[step]))
			fail_msg("seed %llu: %s, %u slots, %s: step %llu: other outputs",
			         (unsigned long long)seed, what, c->slots_max,
			         c->policy ? c->policy : "default", (unsigned long long)step);
	}
	if (c->slots_max)
		assert_true(fixture_counter(&f, "streamed_uses") > 0);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* Keeps what all resident gives; the fixture's bank stays open in `bank`. */
static void run_resident(const fixture_config *c, const char *what)
{
	fixture f;

	open_model(&f, c, what);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	keep_outputs(&f, what);
	fixture_close(&f);
}

static ufm_bank *open_bank(const fixture_config *c)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	const ufm_bank_synthetic_config config = {.struct_size = sizeof config,
	                                          .layers = c->layers,
	                                          .experts = c->experts,
	                                          .desc = &desc,
	                                          .seed = c->seed};
	ufm_bank *bank;

	assert_int_equal(ufm_expert_desc_init(&desc, c->kind, c->d_model, c->d_hidden, UFM_F32),
	                 UFM_OK);
	if (c->arithmetic)
		desc = arithmetic_desc(c->arithmetic, true, UFM_F32, c->d_model, c->d_hidden);
	storage_apply(c->storage, &desc);
	if (ufm_bank_synthetic(&config, &bank))
		fail_msg("%s: %s", c->storage->name, ufm_last_error());
	return bank;
}

static void check_every_budget(fixture_config c, const char *what)
{
	run_resident(&c, what);
	c.slots_max = 3;
	compare_outputs(&c, what);
	c.slots_max = 7;
	c.policy = "lru";
	compare_outputs(&c, what);
}

static void check_expansion(fixture_config c, ufm_bank *bank, const char *what)
{
	storage_memory plain;

	storage_memory_open(bank, &plain);
	c.storage = NULL;
	c.bank = plain.bank;
	compare_outputs(&c, what);
	storage_memory_close(&plain);
}

static void check_refused(const fixture_config *c)
{
	fixture f;

	assert_error(fixture_open(&f, c), UFM_EUNSUPPORTED, "backend");
}

static void check(const fixture_config *c)
{
	if (!backend_reads(c->storage)) {
		check_refused(c);
		return;
	}
	ufm_bank *bank = open_bank(c);
	fixture_config same = *c;
	same.bank = bank;
	check_every_budget(same, c->storage->name);
	check_expansion(*c, bank, c->storage->name);
	ufm_bank_close(bank);
}

/* As many tokens as make experts of one and of several; widths of one block and of more. */
static fixture_config random_config(rng *r, const storage *s)
{
	return (fixture_config){.layers = 2,
	                        .experts = 5 + rng_below(r, 4),
	                        .tokens = 1 + rng_below(r, TOKENS_MAX),
	                        .top_k = 1 + rng_below(r, 3),
	                        .d_model = STORAGE_STEP * (1 + rng_below(r, 2)),
	                        .d_hidden = STORAGE_STEP * (1 + rng_below(r, 2)),
	                        .kind = (ufm_expert_kind)(1 + rng_below(r, 3)),
	                        .storage = s,
	                        .seed = rng_u64(r)};
}

static void test_every_storage(void **state)
{
	rng r;

	(void)state;
	rng_seed(&r, seed);
	for (size_t i = 0; i < storage_count; i++) {
		fixture_config c = random_config(&r, &storages[i]);
		check(&c);
	}
}

/* Limits, and biases on all matrices: every arithmetic, each with another storage. */
static void test_arithmetics(void **state)
{
	rng r;

	(void)state;
	rng_seed(&r, rng_mix(seed, 1));
	for (size_t i = 0; i < arithmetic_count; i++) {
		fixture_config c = random_config(&r, &storages[rng_below(&r, (uint32_t)storage_count)]);
		c.arithmetic = &arithmetics[i];
		c.d_model = c.d_hidden = STORAGE_STEP;
		check(&c);
	}
}

/* The fixture's own bank, by its own dimensions. */
static void test_defaults_of_the_fixture(void **state)
{
	fixture f;

	(void)state;
	for (size_t i = 0; i < storage_count; i++) {
		fixture_config c = {.storage = &storages[i], .slots_max = 3, .tokens = 2};
		if (!backend_reads(c.storage)) {
			check_refused(&c);
			continue;
		}
		open_model(&f, &c, c.storage->name);
		keep_outputs(&f, c.storage->name);
		assert_int_equal(f.c.d_model, STORAGE_STEP);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_storage),
		cmocka_unit_test(test_arithmetics),
		cmocka_unit_test(test_defaults_of_the_fixture),
	};

	seed = (uint64_t)time(NULL);
	print_message("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests_name("storages", tests, NULL, NULL);
}
