/* SPDX-License-Identifier: MIT */
/* The public call for a plan: what it gives, what it refuses, and that it agrees with an engine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <ufm/plan.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "budget/workspace.h"
#include "plan/probed.h"
#include "support/assert_error.h"
#include "support/checkpoint_file.h"

enum { LAYERS = 2, EXPERTS = 16, TOP_K = 2, POINTS = 3 };

static ufm_plan_model a_model(ufm_expert_desc *desc)
{
	ufm_plan_model m;
	UFM_STRUCT_INIT(&m);
	UFM_STRUCT_INIT(desc);
	m.desc = desc;
	m.layers = LAYERS;
	m.experts = EXPERTS;
	m.top_k = TOP_K;
	assert_int_equal(ufm_expert_desc_init(desc, UFM_EXPERT_GATED, 64, 128, UFM_BF16), UFM_OK);
	return m;
}

static ufm_plan_machine a_machine(void)
{
	return (ufm_plan_machine){.struct_size = sizeof(ufm_plan_machine),
	                          .backend = "cpu",
	                          .link_gbps = 2,
	                          .hbm_gbps = 40,
	                          .dram_gbps = 10,
	                          .gflops = 500};
}

/* What a test changes before the call. */
typedef struct call {
	ufm_expert_desc desc;
	ufm_plan_model model;
	ufm_plan_machine machine;
	ufm_plan_config config;
	ufm_plan_point points[POINTS];
} call;

static void begin(call *c)
{
	c->model = a_model(&c->desc);
	c->machine = a_machine();
	UFM_STRUCT_INIT(&c->config);
	c->config.model = &c->model;
	c->config.machine = &c->machine;
	c->config.prompt = 8;
	c->config.workload = "uniform";
	for (uint32_t i = 0; i < POINTS; i++)
		UFM_STRUCT_INIT(&c->points[i]);
}

static void must(ufm_status status)
{
	if (status)
		fail_msg("%s", ufm_last_error());
}

static void check_phase(const ufm_plan_phase *p)
{
	assert_true(p->tokens_per_s > 0 && p->step_ns > 0 && p->device_bytes >= 0);
	assert_true(p->hit_rate >= 0 && p->hit_rate <= 1);
	assert_true(p->link_busy_ns >= 0 && p->link_busy_ns <= p->step_ns);
	assert_true(p->bound >= UFM_PLAN_BY_HBM && p->bound <= UFM_PLAN_BY_HOST);
}

/* Nothing fits, some, all: the last is found by the call. */
static void points_are_planned(void **state)
{
	(void)state;
	call c;
	begin(&c);
	c.points[0].vram_target_bytes = 1;
	must(ufm_plan(&c.config, &c.points[2], 1));
	c.points[1].vram_target_bytes =
		c.points[2].vram_target_bytes - LAYERS * EXPERTS / 2 * c.desc.block_bytes;
	c.points[2].vram_target_bytes = 0;
	must(ufm_plan(&c.config, c.points, POINTS));

	const ufm_plan_point *none = &c.points[0], *half = &c.points[1], *all = &c.points[2];
	assert_int_equal(none->status, UFM_EBUDGET);
	assert_non_null(strstr(none->why, "must be at least"));
	assert_int_equal(none->slots, 0);
	assert_true(none->host_bytes >= LAYERS * EXPERTS * c.desc.block_bytes);

	assert_int_equal(half->status, UFM_OK);
	assert_int_equal(half->slots, LAYERS * EXPERTS / 2);
	assert_true(half->ring_slots >= 2 && half->bound_hit_rate >= half->decode.hit_rate - .02);
	assert_true(half->decode.hit_rate < 1 && half->decode.link_bytes + half->decode.cpu_bytes > 0);
	assert_true(half->limit_tokens_per_s > 0);
	check_phase(&half->decode);
	check_phase(&half->prefill);

	assert_int_equal(all->slots, LAYERS * EXPERTS);
	assert_true(all->decode.hit_rate >= 1 && all->decode.link_bytes <= 0 && !all->decode.with_cpu);
	assert_true(all->decode.tokens_per_s > half->decode.tokens_per_s);
	check_phase(&all->decode);
}

/* Slots, ring and what is beside them are an engine's with that budget. */
static void slots_are_the_engines(void **state)
{
	(void)state;
	call c;
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_bank_info about = {.struct_size = sizeof about};
	const ufm_host_config on = {.struct_size = sizeof on, .backend = "cpu"};
	begin(&c);
	c.points[0].vram_target_bytes = 900000;
	must(ufm_plan(&c.config, c.points, 1));
	const ufm_bank_synthetic_config made = {
		.struct_size = sizeof made, .layers = LAYERS, .experts = EXPERTS, .desc = c.model.desc};
	must(ufm_bank_synthetic(&made, &bank));
	must(ufm_bank_get_info(bank, &about));
	const budget_stack stack = {.layers = LAYERS,
	                            .experts = EXPERTS,
	                            .d_model = about.desc->d_model,
	                            .router = true,
	                            .tokens = c.config.prompt};
	must(ufm_host_open(bank, &on, &host));
	const ufm_engine_config config = {.struct_size = sizeof config,
	                                  .vram_target_bytes = 900000,
	                                  .max_tokens = c.config.prompt,
	                                  .top_k_max = TOP_K,
	                                  .arena_bytes = budget_stack_bytes(&stack)};
	must(ufm_engine_open(host, &config, &engine));
	must(ufm_engine_get_info(engine, &info));
	assert_in_range(c.points[0].slots, 3, LAYERS * EXPERTS - 1);
	assert_int_equal(c.points[0].slots, info.slots);
	assert_int_equal(c.points[0].ring_slots, info.ring_slots);
	assert_int_equal(c.points[0].workspace_bytes, info.workspace_bytes + info.arena_bytes);
	ufm_engine_close(engine);
	ufm_host_close(host);
	ufm_bank_close(bank);
}

static void one_expert_and_one_token(void **state)
{
	(void)state;
	call c;
	begin(&c);
	c.model.layers = c.model.experts = c.model.top_k = 1;
	c.config.prompt = 1;
	must(ufm_plan(&c.config, c.points, 1));
	assert_int_equal(c.points[0].slots, 1);
	check_phase(&c.points[0].decode);
	/* No point: the configuration is checked, and nothing else. */
	must(ufm_plan(&c.config, NULL, 0));
	c.config.workload = "sometimes";
	assert_int_equal(ufm_plan(&c.config, NULL, 0), UFM_EINVAL);
}

/* ---- what is refused */

static void expect(call *c, ufm_status status, const char *words)
{
	ufm_plan_point before = c->points[0];
	ufm_status found = ufm_plan(&c->config, c->points, 1);
	assert_error(found, status, words);
	assert_memory_equal(&before, &c->points[0], sizeof before);
	begin(c);
}

static void fields_are_named(void **state)
{
	(void)state;
	call c;
	begin(&c);
	assert_error(ufm_plan(NULL, c.points, 1), UFM_EINVAL, "config");
	c.config.struct_size = sizeof c.config + 8;
	expect(&c, UFM_EINVAL, "ufm_plan_config: byte"); /* points[0] lies there */
	c.points[0].struct_size = 0;
	expect(&c, UFM_EINVAL, "ufm_plan_point: struct_size is 0");
	c.config.model = NULL;
	expect(&c, UFM_EINVAL, "model: NULL");
	c.config.machine = NULL;
	expect(&c, UFM_EINVAL, "machine: NULL");
	c.desc.block_bytes = 1;
	expect(&c, UFM_EINVAL, "block_bytes is 1");
	c.model.layers = 0;
	expect(&c, UFM_EINVAL, "layers x experts: found 0");
	c.model.experts = 65536;
	expect(&c, UFM_EINVAL, "experts: found 65536, expected at most 65535");
	c.model.layers = 1u << 31;
	expect(&c, UFM_EINVAL, "layers x experts: found 34359738368");
	c.model.top_k = EXPERTS + 1;
	expect(&c, UFM_EINVAL, "top-k: found 17, expected 1 to 16");
	c.machine.link_gbps = 0;
	expect(&c, UFM_EINVAL, "link_gbps: 0, expected more than 0");
	c.machine.hbm_gbps = -1;
	expect(&c, UFM_EINVAL, "hbm_gbps: -1");
	c.machine.gflops = (double)NAN;
	expect(&c, UFM_EINVAL, "gflops: ");
	c.machine.sum_link_gbps = 1;
	expect(&c, UFM_EINVAL, "sum_cpu_gbps: 0, expected more than 0");
	c.machine.backend = "abacus";
	expect(&c, UFM_EBACKEND, "abacus");
	c.config.batch = 4097;
	expect(&c, UFM_EINVAL, "batch: 4097");
	c.config.batch = 4096;
	c.config.prompt = 65536;
	expect(&c, UFM_EINVAL, "batch x prompt: found 268435456");
	c.config.headroom_bytes = UINT64_MAX;
	expect(&c, UFM_EINVAL, "headroom_bytes");
	c.config.ring_slots = 15;
	c.points[0].vram_target_bytes = 900000;
	expect(&c, UFM_EINVAL, "ring_slots: 15");
	c.config.policy = "min";
	expect(&c, UFM_EINVAL, "policy: \"min\", expected one of cycle");
	c.config.workload = "sticky:nobody";
	expect(&c, UFM_EINVAL, "workload: found 'sticky:nobody'");
	c.config.workload = "trace:/nowhere.npy";
	expect(&c, UFM_EFILE, "/nowhere.npy");
}

static int at_once(void *ctx)
{
	++*(int *)ctx;
	return 1;
}

static void note(void *ctx, uint32_t done, uint32_t total)
{
	uint32_t *last = ctx;
	assert_int_equal(total, POINTS);
	assert_true(done == *last + 1);
	*last = done;
}

static void a_caller_watches_and_stops(void **state)
{
	(void)state;
	call c;
	int asked = 0;
	uint32_t last = UINT32_MAX;
	begin(&c);
	c.config.progress = note;
	c.config.progress_ctx = &last;
	must(ufm_plan(&c.config, c.points, POINTS));
	assert_int_equal(last, POINTS);
	begin(&c);
	c.config.stop = at_once;
	c.config.stop_ctx = &asked;
	assert_int_equal(ufm_plan(&c.config, c.points, 1), UFM_ECANCELED);
	assert_int_equal(asked, 1);
}

/* A caller that was built before the later fields has the defaults. */
static void an_older_config_is_read(void **state)
{
	(void)state;
	call c;
	begin(&c);
	c.config.struct_size = offsetof(ufm_plan_config, progress);
	c.config.progress = note; /* not read */
	c.model.struct_size = offsetof(ufm_plan_model, notes);
	must(ufm_plan(&c.config, c.points, 1));
}

/* Points of an older and of a newer caller lie closer together and further apart. */
static void points_lie_as_far_apart_as_they_are_large(void **state)
{
	(void)state;
	struct {
		ufm_plan_point point;
		uint64_t later;
	} newer[POINTS];
	char older[POINTS][offsetof(ufm_plan_point, decode)];
	const size_t older_size = sizeof older[0], newer_size = sizeof newer[0];
	call c;
	begin(&c);
	must(ufm_plan(&c.config, c.points, POINTS));
	memset(newer, 0, sizeof newer);
	memset(older, 0, sizeof older);
	for (int i = 0; i < POINTS; i++) {
		call fresh;
		begin(&fresh);
		memcpy(&newer[i].point, &fresh.points[i], sizeof newer[i].point);
		memcpy(older[i], &fresh.points[i], older_size);
		memcpy(&newer[i].point.struct_size, &newer_size, sizeof newer_size);
		memcpy(older[i], &older_size, sizeof older_size);
		newer[i].later = 7;
	}
	must(ufm_plan(&c.config, &newer[0].point, POINTS));
	must(ufm_plan(&c.config, (ufm_plan_point *)(void *)older, POINTS));
	for (int i = 0; i < POINTS; i++) {
		const size_t at = sizeof(size_t);
		assert_memory_equal((char *)&newer[i] + at, (char *)&c.points[i] + at,
		                    sizeof c.points[i] - at);
		assert_int_equal(newer[i].later, 7);
		assert_memory_equal(older[i] + at, (char *)&c.points[i] + at, older_size - at);
	}
	c.points[1].struct_size = older_size;
	assert_error(ufm_plan(&c.config, c.points, POINTS), UFM_EINVAL, "as the first one's");
	c.points[0].struct_size = sizeof(size_t);
	assert_error(ufm_plan(&c.config, c.points, 1), UFM_EINVAL, "expected at least 16");
}

static bool refuse_after(void *ctx, size_t size_bytes)
{
	int *left = ctx;
	(void)size_bytes;
	return (*left)-- > 0;
}

static void memory_runs_out_anywhere(void **state)
{
	(void)state;
	call c;
	ufm_status status = UFM_ENOMEM;
	int tries = 0;
	begin(&c);
	for (; status == UFM_ENOMEM; tries++) {
		int left = tries;
		alloc_set_hook(refuse_after, &left);
		status = ufm_plan(&c.config, c.points, 1);
		alloc_set_hook(NULL, NULL);
	}
	assert_int_equal(status, UFM_OK);
	assert_true(tries > 10);
}

/* ---- models and machines */

static void a_config_is_read(void **state)
{
	(void)state;
	ufm_plan_model m;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	call c;
	char folder[64], path[128];
	static const char text[] =
		"{\"num_hidden_layers\": 3, \"num_experts\": 8, \"num_experts_per_tok\": "
		"2, \"hidden_size\": 64, \"moe_intermediate_size\": 32}";
	checkpoint_folder_make(folder);
	checkpoint_text_write(folder, "config.json", text);
	snprintf(path, sizeof path, "%s/config.json", folder);
	UFM_STRUCT_INIT(&m);
	assert_error(ufm_plan_read_model(path, NULL, &m), UFM_EINVAL, "desc: NULL");
	m.desc = &desc;
	must(ufm_plan_read_model(path, NULL, &m));
	assert_int_equal(m.layers, 3);
	assert_int_equal(m.experts, 8);
	assert_int_equal(m.top_k, 2);
	assert_ptr_equal(m.desc, &desc);
	assert_int_equal(desc.d_hidden, 32);
	assert_non_null(strstr(m.notes, "bf16 is assumed"));
	begin(&c);
	c.config.model = &m;
	must(ufm_plan(&c.config, c.points, 1));
	m.struct_size = 0;
	assert_error(ufm_plan_read_model(path, NULL, &m), UFM_EINVAL,
	             "ufm_plan_model: struct_size is 0");
	UFM_STRUCT_INIT(&m);
	m.desc = &desc;
	assert_error(ufm_plan_read_model("/nowhere", NULL, &m), UFM_EFILE, "/nowhere");
	assert_int_equal(m.layers, 0);
	checkpoint_folder_remove(folder);
}

static void this_machine_is_probed(void **state)
{
	(void)state;
	call c;
	begin(&c);
	UFM_STRUCT_INIT(&c.machine);
	must(ufm_plan_probe_machine(&c.model, "cpu", &c.machine));
	assert_string_equal(c.machine.backend, "cpu");
	assert_true(c.machine.link_gbps > 0 && c.machine.hbm_gbps > 0 && c.machine.dram_gbps > 0);
	must(ufm_plan(&c.config, c.points, 1));
	UFM_STRUCT_INIT(&c.machine);
	assert_int_equal(ufm_plan_probe_machine(&c.model, "abacus", &c.machine), UFM_EBACKEND);
	c.model.top_k = 0;
	assert_int_equal(ufm_plan_probe_machine(&c.model, "cpu", &c.machine), UFM_EINVAL);
}

/* Whoever tells people of it need not look again. */
static void what_was_probed_says_what_may_be_used(void **state)
{
	(void)state;
	call c;
	limits here;
	probe_machine_found found;
	begin(&c);
	limits_read(&here);
	const probe_machine_config config = {.desc = &c.desc, .top_k = TOP_K, .backend = "cpu"};
	must(probe_machine(&config, &found));
	assert_int_equal(found.cores, here.cores);
	assert_true(found.lockable_bytes > 0);
	assert_string_equal(found.backend, "cpu");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_planned),
		cmocka_unit_test(slots_are_the_engines),
		cmocka_unit_test(one_expert_and_one_token),
		cmocka_unit_test(fields_are_named),
		cmocka_unit_test(a_caller_watches_and_stops),
		cmocka_unit_test(an_older_config_is_read),
		cmocka_unit_test(points_lie_as_far_apart_as_they_are_large),
		cmocka_unit_test(memory_runs_out_anywhere),
		cmocka_unit_test(a_config_is_read),
		cmocka_unit_test(this_machine_is_probed),
		cmocka_unit_test(what_was_probed_says_what_may_be_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
