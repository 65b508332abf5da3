/* SPDX-License-Identifier: MIT */
/* A bank whose experts the caller's function writes: what is asked for, when, and what comes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pager/host.h"
#include "support/assert_error.h"
#include "support/callback_bank.h"
#include "support/fixture.h"

/* Parts in another order than they lie, with a gap before the first: any layout that is allowed. */
static void spread(ufm_expert_desc *desc)
{
	ufm_part first = desc->parts[0];

	for (uint32_t i = 0; i < desc->part_count; i++)
		desc->parts[i].offset_bytes += 128 + 192 * (uint64_t)i;
	desc->expert_bytes += 128 + 192 * (uint64_t)(desc->part_count - 1);
	desc->block_bytes = (desc->expert_bytes + 4095) / 4096 * 4096;
	first.offset_bytes = desc->parts[0].offset_bytes;
	desc->parts[0] = desc->parts[1];
	desc->parts[1] = first;
}

static void check_desc(ufm_expert_desc desc, bool writes_gaps)
{
	weights w;

	weights_open(&w, &desc);
	w.writes_gaps = writes_gaps;
	ufm_bank *bank = weights_bank(&w);
	weights_check_reads(&w, bank);
	weights_check_hosts(&w, bank);
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

static void every_expert_is_read_once(void **state)
{
	(void)state;
	ufm_expert_desc spread_out = weights_describe(UFM_EXPERT_MLP_BIAS, UFM_F32, 5, 7);

	check_desc(weights_describe(UFM_EXPERT_MLP, UFM_F32, 1, 1), false);
	check_desc(weights_describe(UFM_EXPERT_MLP_BIAS, UFM_BF16, 33, 17), false);
	check_desc(weights_describe(UFM_EXPERT_MLP_BIAS, UFM_F32, 33, 17), true);
	check_desc(weights_describe(UFM_EXPERT_GATED, UFM_BF16, 7, 9), false);
	check_desc(weights_describe(UFM_EXPERT_GATED, UFM_F32, 64, 96), false);
	spread(&spread_out);
	check_desc(spread_out, false);
}

static void a_saved_bank_is_the_same(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_GATED, UFM_BF16, 7, 9);
	char path[] = "/tmp/ufm_test_bank_callback_XXXXXX";
	weights w;
	ufm_bank *bank, *back;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	weights_open(&w, &desc);
	bank = weights_bank(&w);
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	for (uint32_t i = 0; i < WEIGHTS_KEYS; i++)
		assert_int_equal(w.order[i], i);
	assert_int_equal(w.total, WEIGHTS_KEYS);
	assert_int_equal(ufm_bank_open(path, &back), UFM_OK);
	weights_check_reads(&w, back);
	w.fails_at = 8;
	w.status = UFM_EFORMAT;
	assert_error(ufm_bank_save(bank, path), UFM_EFORMAT, "layer 1 expert 3: the caller's function");
	ufm_bank_close(back);
	ufm_bank_close(bank);
	weights_close(&w, 1);
	assert_int_equal(unlink(path), 0);
}

static void one_thread_reads_in_order(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	weights w;
	ufm_host *host;

	weights_open(&w, &desc);
	ufm_bank *bank = weights_bank(&w);
	assert_int_equal(weights_host(bank, 1, &host), UFM_OK);
	assert_int_equal(w.total, WEIGHTS_KEYS);
	for (uint32_t i = 0; i < WEIGHTS_KEYS; i++)
		assert_int_equal(w.order[i], i);
	ufm_host_close(host);
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

/* ------------------------------------------------------------------ several threads */

#define THREADS 4

/* Each thread's keys, as they came; a read waits until as many are in it as there are threads, once. */
typedef struct watch {
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t threads[THREADS];
	uint32_t last[THREADS]; /* key + 1 */
	uint32_t count, inside, most_inside;
	bool in_order, let_go;
} watch;

static uint32_t thread_number(watch *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (pthread_equal(w->threads[i], pthread_self()))
			return i;
	if (w->count == THREADS)
		abort();
	w->threads[w->count] = pthread_self();
	return w->count++;
}

static ufm_status read_watched(void *ctx, uint32_t layer, uint32_t expert, void *block)
{
	watch *w = ctx;
	uint32_t key = layer * WEIGHTS_EXPERTS + expert;

	pthread_mutex_lock(&w->lock);
	uint32_t self = thread_number(w);
	w->in_order = w->in_order && key + 1 > w->last[self];
	w->last[self] = key + 1;
	if (++w->inside > w->most_inside)
		w->most_inside = w->inside;
	w->let_go = w->let_go || w->inside == THREADS;
	pthread_cond_broadcast(&w->more);
	while (!w->let_go)
		pthread_cond_wait(&w->more, &w->lock);
	w->inside--;
	pthread_mutex_unlock(&w->lock);
	memset(block, (int)key, sizeof(float));
	return UFM_OK;
}

static void threads_read_side_by_side_and_rising(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	watch w = {
		.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .in_order = true};
	const ufm_bank_callback_config config = {.struct_size = sizeof config,
	                                         .layers = WEIGHTS_LAYERS,
	                                         .experts = WEIGHTS_EXPERTS,
	                                         .desc = &desc,
	                                         .read = read_watched,
	                                         .ctx = &w};
	ufm_bank *bank;
	ufm_host *host;

	assert_int_equal(ufm_bank_callback(&config, &bank), UFM_OK);
	assert_int_equal(weights_host(bank, THREADS, &host), UFM_OK);
	assert_int_equal(w.most_inside, THREADS);
	assert_int_equal(w.inside, 0);
	assert_true(w.in_order);
	ufm_host_close(host);
	ufm_bank_close(bank);
	pthread_cond_destroy(&w.more);
	pthread_mutex_destroy(&w.lock);
}

static void two_hosts_read_it_twice(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP_BIAS, UFM_F32, 33, 17);
	weights w;
	ufm_host *hosts[2];

	weights_open(&w, &desc);
	ufm_bank *bank = weights_bank(&w);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(weights_host(bank, 2, &hosts[i]), UFM_OK);
	ufm_bank_close(bank);
	for (uint32_t key = 0; key < WEIGHTS_KEYS; key++) {
		assert_int_equal(w.reads[key], 2);
		for (uint32_t i = 0; i < 2; i++)
			weights_check_block(&w, key, host_block(hosts[i], key));
	}
	ufm_host_close(hosts[0]);
	assert_int_equal(w.closed, 0);
	ufm_host_close(hosts[1]);
	weights_close(&w, 1);
}

/* An engine computes what the same weights give from where they were, without another read. */
static void an_engine_runs_on_it(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP_BIAS, UFM_F32, 24, 40);
	fixture_config c = {.layers = WEIGHTS_LAYERS, .experts = WEIGHTS_EXPERTS, .slots_max = 6};
	uint64_t hashes[2];
	fixture f;
	weights w;

	weights_open(&w, &desc);
	for (uint32_t i = 0; i < 2; i++) {
		c.bank = i ? weights_bank(&w) : w.source;
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		hashes[i] = fixture_hash(&f);
		fixture_close(&f);
	}
	assert_true(hashes[0] == hashes[1]);
	assert_int_equal(w.total, WEIGHTS_KEYS);
	ufm_bank_close(c.bank);
	weights_close(&w, 1);
}

static void layers_have_the_models_numbers(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	uint32_t numbers[WEIGHTS_LAYERS] = {3, 11, 40};
	uint8_t block[8192];
	weights w;
	ufm_bank *bank;

	weights_open(&w, &desc);
	ufm_bank_callback_config config = weights_config(&w);
	config.layer_numbers = numbers;
	assert_int_equal(ufm_bank_callback(&config, &bank), UFM_OK);
	memset(numbers, 0, sizeof numbers); /* they were copied */
	assert_int_equal(ufm_bank_layer_number(bank, 0), 3);
	assert_int_equal(ufm_bank_layer_number(bank, 2), 40);
	assert_int_equal(ufm_bank_layer_number(bank, 3), 3);
	weights_check_reads(&w, bank); /* which asks by the bank's own */
	w.fails_at = 7;
	w.status = UFM_EFILE;
	assert_error(ufm_bank_read(bank, 1, 2, block), UFM_EFILE, "layer 11 expert 2: ");
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_expert_is_read_once),
		cmocka_unit_test(a_saved_bank_is_the_same),
		cmocka_unit_test(one_thread_reads_in_order),
		cmocka_unit_test(threads_read_side_by_side_and_rising),
		cmocka_unit_test(two_hosts_read_it_twice),
		cmocka_unit_test(an_engine_runs_on_it),
		cmocka_unit_test(layers_have_the_models_numbers),
	};

	return cmocka_run_group_tests_name("bank callback", tests, NULL, NULL);
}
