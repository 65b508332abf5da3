/* SPDX-License-Identifier: MIT */
/* The benchmark's model under a workload that steers its routers: what the device chooses is what the trace says, and
 * where it is not, that is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "budget/workspace.h"
#include "cli/bench/model.h"
#include "support/fixture.h"

enum { EXPERTS = 20, RANKS = 5, D_MODEL = 24 };

typedef struct steered {
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
	workload *load;
	model *model;
} steered;

typedef struct shape {
	uint32_t layers, tokens;
	bool resident, decode;
	ufm_scoring scoring;
} shape;

static void must(ufm_status status)
{
	if (status)
		fail_msg("%s", ufm_last_error());
}

static void open_host(steered *s, uint32_t layers)
{
	ufm_bank_synthetic_config bank;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_host_config host;
	UFM_STRUCT_INIT(&bank);
	UFM_STRUCT_INIT(&host);
	bank.layers = layers;
	bank.experts = EXPERTS;
	host.backend = fixture_backend()->name;
	must(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, D_MODEL, 16, UFM_F32));
	bank.desc = &desc;
	must(ufm_bank_synthetic(&bank, &s->bank));
	must(ufm_host_open(s->bank, &host, &s->host));
}

static void open_engine(steered *s, const shape *c, const model_config *describe)
{
	ufm_engine_config engine;
	UFM_STRUCT_INIT(&engine);
	engine.max_tokens = c->tokens;
	engine.top_k_max = RANKS;
	engine.slots_max = c->resident ? 0 : RANKS * 2;
	engine.resident_all = c->resident;
	engine.cpu_assist = UFM_CPU_OFF;
	engine.arena_bytes = model_arena_bytes(describe);
	must(ufm_engine_open(s->host, &engine, &s->engine));
}

static void steered_open(steered *s, const shape *c)
{
	workload_config load = {.spec = "sticky:0.5,1,0.05",
	                        .seed = 3,
	                        .d_model = D_MODEL,
	                        .layers = c->layers,
	                        .tokens = c->tokens,
	                        .sequences = c->decode ? c->tokens : 0,
	                        .top_k = RANKS,
	                        .experts_min = EXPERTS};
	model_config describe = {.tokens = c->tokens, .top_k = RANKS, .scoring = c->scoring, .seed = 3};
	memset(s, 0, sizeof *s);
	open_host(s, c->layers);
	must(workload_open(&load, &s->load));
	describe.bank = *bank_get_shape(s->bank);
	describe.steers = s->load;
	open_engine(s, c, &describe);
	must(model_open(s->engine, &describe, &s->model));
}

static void steered_close(steered *s)
{
	model_close(s->model);
	workload_close(s->load);
	ufm_engine_close(s->engine);
	ufm_host_close(s->host);
	ufm_bank_close(s->bank);
}

static model_check run_step(steered *s, uint64_t step)
{
	workload_batch batch;
	model_check check = {0};
	workload_step(s->load, step, &batch);
	must(model_upload(s->model, &batch));
	must(model_forward(s->model, &batch, &check));
	return check;
}

/* As many steps as wear out the routers of a single token's window more than twice. */
static void check_shape(const shape *c)
{
	steered s;
	steered_open(&s, c);
	for (uint64_t step = 0; step < 2 * D_MODEL + 2; step++) {
		model_check check = run_step(&s, step);
		if (check.wrong)
			fail_msg("%u layers, %u tokens, step %d: %s", c->layers, c->tokens, (int)step,
			         check.why);
	}
	steered_close(&s);
}

static void test_the_device_chooses_what_the_trace_says(void **unused)
{
	(void)unused;
	static const uint32_t tokens[] = {1, 3, D_MODEL, D_MODEL + 7, 3 * D_MODEL};
	for (uint32_t layers = 1; layers <= 4; layers += 3)
		for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
			shape c = {layers, tokens[i], i % 2, i < 2, UFM_SCORE_SOFTMAX};
			check_shape(&c);
			c.resident = !c.resident;
			c.scoring = UFM_SCORE_SIGMOID;
			check_shape(&c);
		}
}

static void replace_last(int32_t *token)
{
	bool taken[EXPERTS] = {false};
	int32_t other = 0;
	for (uint32_t i = 0; i < RANKS; i++)
		taken[token[i]] = true;
	while (taken[other])
		other++;
	token[RANKS - 1] = other;
}

/* A single other expert, at a token of a layer. */
static void test_another_choice_is_seen(void **unused)
{
	(void)unused;
	steered s;
	workload_batch batch;
	model_check check = {0};
	int32_t wanted[2 * 3 * RANKS];
	steered_open(&s, &(shape){.layers = 2, .tokens = 3, .scoring = UFM_SCORE_SOFTMAX});
	workload_step(s.load, 0, &batch);
	memcpy(wanted, batch.chosen, sizeof wanted);
	replace_last(wanted + (3 + 2) * RANKS);
	batch.chosen = wanted;
	must(model_upload(s.model, &batch));
	must(model_forward(s.model, &batch, &check));
	assert_true(check.wrong);
	assert_non_null(strstr(check.why, "layer 1 left out expert"));
	assert_non_null(strstr(check.why, "for token 2 of a step"));
	steered_close(&s);
}

/* Another window's routers are there only when a step of it was brought. */
static void test_stale_routers_are_seen(void **unused)
{
	(void)unused;
	steered s;
	workload_batch batch;
	model_check check = {0};
	steered_open(&s, &(shape){.layers = 1, .tokens = D_MODEL, .scoring = UFM_SCORE_SOFTMAX});
	assert_false(run_step(&s, 0).wrong);
	workload_step(s.load, 1, &batch);
	batch.window = 0;
	must(model_upload(s.model, &batch));
	must(model_forward(s.model, &batch, &check));
	assert_true(check.wrong);
	assert_false(run_step(&s, 1).wrong);
	steered_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_device_chooses_what_the_trace_says),
		cmocka_unit_test(test_another_choice_is_seen),
		cmocka_unit_test(test_stale_routers_are_seen),
	};
	return cmocka_run_group_tests_name("steered", tests, NULL, NULL);
}
