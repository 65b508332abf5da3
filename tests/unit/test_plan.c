/* SPDX-License-Identifier: MIT */
/* ufm plan's arithmetic against figures computed by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/plan/budgets.h"
#include "cli/plan/report.h"
#include "plan/backlog.h"
#include "plan/routing.h"
#include "plan/walk.h"
#include "policy/registry.h"

static void near(double found, double expected)
{
	if (!(fabs(found - expected) <= 1e-9 * fabs(expected)))
		fail_msg("%.12g, expected %.12g", found, expected);
}

/* ---- time */

/* Costs and rates that are easy to add up: a byte is a nanosecond on the link, a tenth in device memory. */
static const timing_costs costs = {.backend = "test",
                                   .resident_ns = 10,
                                   .call_ns = 30,
                                   .launch_ns = 5,
                                   .launch_one_ns = 3,
                                   .calls_ahead = 2,
                                   .ids_ns = 60,
                                   .start_ns = 15,
                                   .end_ns = 20,
                                   .shared_ns = 40,
                                   .token_ns = 1,
                                   .overlap = 0.5,
                                   .tiles = true,
                                   .cpu_thread_gflops = 2};

static timing_terms terms(void)
{
	return (timing_terms){.rates = {.link_gbps = 1,
	                                .hbm_gbps = 10,
	                                .dram_gbps = 4,
	                                .sum_link_gbps = 0.5,
	                                .sum_cpu_gbps = 2,
	                                .peak_gflops = 100,
	                                .cpu_threads = 3},
	                      .costs = &costs,
	                      .expert_bytes = 1000,
	                      .row_operations = 600};
}

static timing_step one_layer(const timing_terms *t, const timing_layer *l)
{
	timing_step step = {0};
	double parts = 0;
	timing_add(t, l, &step);
	for (timing_bound i = TIMING_HBM; i < TIMING_BOUNDS; i++)
		parts += step.parts_ns[i];
	near(parts, step.ns);
	return step;
}

/* 4 experts of 100 ns to read, 40 rows of 6 ns to compute: 400 + 240 / 2, and 10 + 4 tokens. */
static void a_resident_layer_is_read_and_computed(void **state)
{
	(void)state;
	timing_terms t = terms();
	timing_layer l = {
		.tokens = 4, .device_rows = 40, .device_passes = 4, .on_device = 4, .whole = true};
	timing_step step = one_layer(&t, &l);
	near(step.ns, 400 + 120 + 14);
	near(step.parts_ns[TIMING_HOST], 14);
	near(step.parts_ns[TIMING_HBM], 520);
	assert_int_equal(timing_binds(&step), TIMING_HBM);
	l.device_rows = 400; /* 2400 ns of arithmetic */
	step = one_layer(&t, &l);
	near(step.parts_ns[TIMING_COMPUTE], 2400 + 200);
	assert_int_equal(timing_binds(&step), TIMING_COMPUTE);
	/* Weights are read for each tile of rows. */
	l.device_rows = 0;
	l.device_passes = 6;
	near(one_layer(&t, &l).parts_ns[TIMING_HBM], 600);
}

/* Tiles of 8, 16, 24 and 32 rows are computed whole; two rows and fewer cost themselves. Many rows of bf16 weights are cut to
 * multiples of eight. */
static void rows_fill_tiles(void **state)
{
	(void)state;
	static const struct {
		uint32_t rows, computed, passes, wide;
	} cases[] = {{1, 1, 1, 1},    {2, 2, 1, 2},    {3, 8, 1, 8},    {8, 8, 1, 8},
	             {9, 16, 1, 16},  {16, 16, 1, 16}, {17, 24, 1, 24}, {25, 32, 1, 32},
	             {32, 32, 1, 32}, {33, 64, 2, 40}, {65, 96, 3, 72}};
	timing_costs plain = costs;
	plain.tiles = false;
	timing_terms t = terms(), untiled = terms(), wide = terms();
	untiled.costs = &plain;
	wide.wide = true;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		timing_layer l = {0}, u = {0}, w = {0};
		timing_add_expert(&t, cases[i].rows, &l);
		timing_add_expert(&wide, cases[i].rows, &w);
		assert_int_equal(w.device_rows, cases[i].wide);
		assert_int_equal(w.device_passes, 1);
		timing_add_expert(&untiled, cases[i].rows, &u);
		assert_int_equal(l.on_device, 1);
		assert_int_equal(l.device_rows, cases[i].computed);
		assert_int_equal(l.device_passes, cases[i].passes);
		assert_int_equal(u.device_rows, cases[i].rows);
		assert_int_equal(u.device_passes, 1);
	}
}

/* The ids are there at 60 + 1 token. 3 of 4 are copied, 1000 ns each; the last of the four, 100 ns, is computed after
 * them, and the call ends. */
static void misses_come_over_the_link(void **state)
{
	(void)state;
	timing_terms t = terms();
	timing_layer l = {.tokens = 1, .on_device = 4, .streamed = 3};
	timing_step step = one_layer(&t, &l);
	near(step.ns, 61 + 3000 + 100 + 20);
	near(step.parts_ns[TIMING_LINK], 3000);
	near(step.parts_ns[TIMING_HBM], 100);
	near(step.link_ns, 3000);
	assert_int_equal(timing_binds(&step), TIMING_LINK);
	/* Two together come at 2000, the third at 3000; a gap after each copy. */
	timing_costs gaps = costs;
	gaps.copy_gap_ns = 7;
	t.costs = &gaps;
	near(one_layer(&t, &l).parts_ns[TIMING_LINK], 3000 + 3 * 7);
	l.together = 2;
	near(one_layer(&t, &l).parts_ns[TIMING_LINK], 3000 + 2 * 7);
	/* A link that was idle begins late. */
	gaps.copy_start_ns = 11;
	near(one_layer(&t, &l).parts_ns[TIMING_LINK], 3000 + 2 * 7 + 11);
	/* So small that the host's launches last longer: the resident's and the first copy's, and two copies more. */
	t = terms();
	t.expert_bytes = 0;
	l.together = 1;
	step = one_layer(&t, &l);
	near(step.ns, 61 + 3 + 2 * 3 + 3 + 20);
	assert_int_equal(timing_binds(&step), TIMING_HOST);
}

/* Nothing misses: launch, 4 experts, end. Where the device makes the ids it has begun when they are there. */
static void a_layer_that_hits_waits_for_ids(void **state)
{
	(void)state;
	timing_terms t = terms();
	timing_layer l = {.tokens = 1, .on_device = 4};
	near(one_layer(&t, &l).ns, 61 + 3 + 400 + 20);
	near(timing_hit_ns(&t, 1, 4), 61 + 3 + 400 + 4 * 6 / 2 + 20);
	l.tokens = 2; /* their rows are gathered when the ids are known */
	near(one_layer(&t, &l).ns, 62 + 5 + 15 + 400 + 20);
	l.tokens = 1;
	t.given = true; /* the host needs only its own time */
	near(one_layer(&t, &l).ns, 31 + 3 + 15 + 400 + 20);
	l.on_device = 0; /* every token was left out */
	near(one_layer(&t, &l).ns, 31 + 3 + 15 + 20);
}

/* 2 copies at half the rate are 4000 ns; the CPU's 3 experts take longer where that is said. */
static void link_and_cpu_share(void **state)
{
	(void)state;
	timing_terms t = terms();
	t.cpu = true;
	timing_layer l = {
		.tokens = 1, .on_device = 2, .streamed = 2, .on_cpu = 3, .cpu_ns = 1500, .cpu_duty = 1};
	timing_step step = one_layer(&t, &l);
	near(step.ns, 61 + 4000 + 100 + 20);
	near(step.parts_ns[TIMING_SHARED], 4000);
	assert_int_equal(timing_binds(&step), TIMING_SHARED);
	l.cpu_ns = 5000;
	near(one_layer(&t, &l).ns, 61 + 40 + 5000 + 20);
	l.cpu_ns = 1500;
	l.cpu_duty = 0.5; /* the link loses a quarter of its rate */
	near(one_layer(&t, &l).parts_ns[TIMING_SHARED], 2000 / 0.75);
	/* Ids were brought along, but the CPU's inputs come from the layer before. */
	t.given = true;
	step = one_layer(&t, &l);
	timing_add(&t, &l, &step);
	near(step.ns, 2 * (2000 / 0.75 + 120) + 31 + 16);
}

/* 500 ns to read beside the link, 250 alone; rows of 600 operations by three threads of 2 a nanosecond each. */
static void the_cpu_reads_or_computes(void **state)
{
	(void)state;
	timing_terms t = terms();
	near(timing_cpu_ns(&t, 1), 500);
	near(timing_cpu_ns(&t, 40), 4000);
	near(timing_cpu_alone_ns(&t, 1), 250);
	near(timing_cpu_duty(&t, 1), 1);
	near(timing_cpu_duty(&t, 40), 0.125);
	near(timing_copy_ns(&t, 0), 1000);
	near(timing_copy_ns(&t, 1), 2000);
	/* A link that is faster beside the CPU than alone was probed wrongly alone. */
	t.rates.sum_link_gbps = 2;
	near(timing_copy_ns(&t, 0), 500);
	near(timing_copy_ns(&t, 1), 500);
	timing_costs each = costs;
	each.cpu_expert_ns = 30;
	t.costs = &each;
	near(timing_cpu_ns(&t, 1), 530);
	near(timing_cpu_alone_ns(&t, 1), 280);
}

/* A layer of 8 residents, 800 ns, then one whose only expert is copied. When the ids are known ahead its copy begins
 * while the first is computed: the host gives calls out at 30 and 65, launches included. */
static void known_ids_let_calls_overlap(void **state)
{
	(void)state;
	timing_terms t = terms();
	timing_layer device = {.on_device = 8}, link = {.on_device = 1, .streamed = 1};
	timing_step step = {0};
	t.given = true;
	timing_add(&t, &device, &step);
	near(step.ns, 35 + 15 + 800 + 20);
	timing_add(&t, &link, &step);
	near(step.ns, 65 + 1000 + 100 + 20);
	near(step.parts_ns[TIMING_LINK], 1065 - 870);
	t.given = false;
	step = (timing_step){0};
	timing_add(&t, &device, &step);
	timing_add(&t, &link, &step);
	near(step.ns, 60 + 5 + 800 + 20 + 60 + 1000 + 100 + 20);
}

/* What is owed begins when the CPU computes again, at 865, or when more than two wait. A layer that begins under such a
 * copy is slower, and a miss waits for it. */
static void what_is_owed_is_copied_beside_the_cpu(void **state)
{
	(void)state;
	timing_costs slower = costs;
	timing_terms t = terms();
	timing_layer cpu = {.on_device = 1, .on_cpu = 1, .cpu_ns = 500, .cpu_duty = 1, .owed = 2};
	timing_layer hit = {.on_device = 1}, miss = {.on_device = 1, .streamed = 1};
	slower.under_copy_ns = 7;
	t.costs = &slower;
	timing_step step = one_layer(&t, &cpu);
	near(step.ns, 60 + 40 + 500 + 20);
	timing_add(&t, &hit, &step);
	near(step.ns, 620 + 60 + 5 + 100 + 20);
	assert_int_equal(step.owed, 2);
	cpu.owed = 0;
	timing_add(&t, &cpu, &step);
	near(step.ns, 805 + 60 + 40 + 500 + 20);
	near(timing_link_busy_ns(&t, &step), 865 + 1000 - 1425 - 60);
	assert_int_equal(step.owed, 1);
	timing_add(&t, &hit, &step);
	near(step.ns, 1425 + 60 + 7 + 5 + 100 + 20);
	timing_add(&t, &miss, &step);
	near(step.ns, 1865 + 1000 + 100 + 20);
	assert_int_equal(step.owed, 1);
	near(step.link_ns, 500 + 1000 + 1000);
	hit.owed = 2;
	timing_add(&t, &hit, &step);
	assert_int_equal(step.owed, 2);
	near(step.link_at_ns, step.ns + 1000);
	/* The next step begins under it; later 3 ns of it are left. */
	step = timing_next_step(&step);
	near(step.link_at_ns, 1000);
	timing_layer whole = {.on_device = 1, .device_passes = 1, .whole = true};
	timing_add(&t, &whole, &step);
	near(step.ns, 10 + 7 + 100);
	step.owed_at_ns = step.ns + 3;
	timing_add(&t, &whole, &step);
	near(step.ns, 117 + 10 + 3 + 100);
	near(timing_next_step(&(timing_step){.ns = 5, .link_at_ns = 4, .owed = 3}).link_at_ns, 0);
}

/* One copy brings both, where the engine copies so many together. */
static void what_is_owed_goes_together(void **state)
{
	(void)state;
	timing_terms t = terms();
	timing_layer layer = {.on_device = 1, .together = 2, .owed = 3};
	timing_step step = one_layer(&t, &layer);
	assert_int_equal(step.owed, 1);
	near(step.link_at_ns, step.ns + 2000);
}

/* The third call waits for the buffers of the first: its copy begins when that has ended, not at 100. */
static void the_host_runs_as_far_ahead_as_it_has_buffers(void **state)
{
	(void)state;
	timing_terms t = terms();
	timing_layer device = {.on_device = 8}, link = {.on_device = 1, .streamed = 1};
	timing_step step = {0};
	t.given = true;
	timing_add(&t, &device, &step);
	timing_add(&t, &device, &step);
	near(step.ns, 870 + 835);
	timing_add(&t, &link, &step);
	near(step.ns, 870 + 1000 + 100 + 20);
	/* One more: the link has done that copy at 1870, the second call has ended at 1705. */
	timing_add(&t, &link, &step);
	near(step.ns, 1870 + 1000 + 100 + 20);
}

static void every_backend_has_costs(void **state)
{
	(void)state;
	assert_non_null(timing_costs_of("cuda"));
	assert_non_null(timing_costs_of("cpu"));
	assert_null(timing_costs_of("vulkan"));
	assert_string_equal(timing_bound_name(TIMING_SHARED), "cpu+link");
	assert_string_equal(timing_bound_name(TIMING_HOST), "host overhead");
}

/* 10 layers of 2 loads of 100 ns; half of 1000 ns of misses are guessed. */
static void a_prefetcher_hides_what_idles(void **state)
{
	(void)state;
	point_way way = {.step_ns = 3000, .link_ns = 1000};
	near(report_prefetch_ns(&way, 10, 100, 0.5, 2), 500);
	way.step_ns = 1500; /* a quarter of the loads fit */
	near(report_prefetch_ns(&way, 10, 100, 0.5, 2), 125);
	way.step_ns = 1000;
	assert_true(report_prefetch_ns(&way, 10, 100, 0.5, 2) <= 0);
	way.step_ns = 900; /* sums without overlap are longer than the step */
	assert_true(report_prefetch_ns(&way, 10, 100, 0.5, 2) <= 0);
}

/* ---- budgets */

#define LAYERS 3u
#define EXPERTS 8u

static void make_shape(plan_shape *shape)
{
	const shape_given given = {.layers = LAYERS,
	                           .experts = EXPERTS,
	                           .top_k = 2,
	                           .d_model = 64,
	                           .d_hidden = 96,
	                           .kind = UFM_EXPERT_GATED,
	                           .dtype = UFM_BF16};
	assert_int_equal(shape_of_given(&given, shape), UFM_OK);
}

static void make_division(const plan_shape *shape, division *out)
{
	const division_config config = {
		.shape = shape, .granularity_bytes = 65536, .headroom_bytes = 1000, .tokens = 16};
	division_open(&config, out);
}

static void a_budget_gives_the_slots_it_was_made_for(void **state)
{
	(void)state;
	plan_shape shape;
	division d;
	budget b;
	make_shape(&shape);
	make_division(&shape, &d);
	for (uint32_t slots = 2; slots <= LAYERS * EXPERTS; slots++) {
		assert_int_equal(division_of(&d, division_target(&d, slots), &b), UFM_OK);
		assert_true(b.slots >= slots);
		assert_true(b.total_bytes + 1000 <= division_target(&d, slots));
	}
	assert_int_equal(b.ring, 0);
	assert_int_equal(division_of(&d, division_target_min(&d) - 65536, &b), UFM_EBUDGET);
	assert_int_equal(division_host_bytes(&d), LAYERS * EXPERTS * shape.bank.desc.block_bytes);
}

static void budgets_are_listed_or_chosen(void **state)
{
	(void)state;
	plan_shape shape;
	division d;
	budget_list list;
	make_shape(&shape);
	make_division(&shape, &d);
	budgets_of("auto", &d, 0, &list);
	assert_true(list.count >= 2);
	assert_int_equal(list.target_bytes[0], division_target_min(&d));
	assert_int_equal(list.target_bytes[list.count - 1], division_target(&d, LAYERS * EXPERTS));
	uint64_t most_bytes = division_target(&d, LAYERS * EXPERTS / 2);
	budgets_of("auto", &d, most_bytes, &list);
	assert_true(list.target_bytes[list.count - 1] <= most_bytes);
	budgets_of("1GiB,50%,3MiB", &d, 0, &list);
	assert_int_equal(list.count, 3);
	assert_int_equal(list.target_bytes[0], 1ull << 30);
	assert_int_equal(list.target_bytes[1], division_target(&d, 12));
	assert_int_equal(list.target_bytes[2], 3ull << 20);
	const char *const good[] = {"auto", "1", "100%", "0.5%", "1GiB,2GiB", "33.3%,1MiB"};
	const char *const bad[] = {"",    ",", "1,",  "0",  "0%",         "101%",
	                           "5%%", "%", "1GB", "-1", "1GiB,,2GiB", "x"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_int_equal(budgets_check(good[i]), UFM_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(budgets_check(bad[i]), UFM_EINVAL);
}

/* ---- the walk */

#define STEPS 100

static void make_routing(const plan_shape *shape, uint64_t tokens, trace *out)
{
	const plan_routing_config config = {
		.spec = "uniform", .seed = 7, .step_tokens = 1, .steps = (uint32_t)tokens, .shape = shape};
	assert_int_equal(plan_routing_open(&config, out), UFM_OK);
	assert_int_equal(out->tokens, tokens);
}

/* Its steps add up to the sum. */
static walk_result walk_terms(uint32_t slots, uint32_t tokens, const timing_terms *t)
{
	double step_ns[STEPS], sum_ns = 0;
	plan_shape shape;
	division d;
	budget b;
	trace routing;
	walk *w;
	walk_result result;
	make_shape(&shape);
	make_division(&shape, &d);
	make_routing(&shape, 200ull * tokens, &routing);
	assert_int_equal(division_of(&d, division_target(&d, slots), &b), UFM_OK);
	const walk_config config = {.policy = policy_find(NULL),
	                            .division = &b,
	                            .timing = t,
	                            .layers = LAYERS,
	                            .experts = EXPERTS,
	                            .d_model = 64,
	                            .top_k = 2,
	                            .preload = true};
	const walk_phase phase = {
		.routing = &routing, .tokens = tokens, .warmup = 50, .steps = STEPS, .step_ns = step_ns};
	assert_int_equal(walk_open(&config, &w), UFM_OK);
	assert_int_equal(walk_run(w, &phase, &result), UFM_OK);
	walk_close(w);
	trace_close(&routing);
	for (int i = 0; i < STEPS; i++)
		sum_ns += step_ns[i];
	near(result.sum.ns, sum_ns);
	return result;
}

static walk_result walk_slots(uint32_t slots, uint32_t tokens, bool cpu)
{
	timing_terms t = terms();
	t.cpu = cpu;
	return walk_terms(slots, tokens, &t);
}

/* A copy beside the CPU takes 2000 ns. Both misses of a layer are the CPU's where it needs less for both: of what beside
 * the link, 500 or 1250 ns each, and alone, 250 or 1250, the mean. */
static void the_cpu_takes_all_that_is_done_before_one_copy(void **state)
{
	(void)state;
	timing_terms t = terms();
	t.cpu = true;
	walk_result fast = walk_terms(2, 1, &t);
	assert_int_equal(fast.streamed, 0);
	t.rates.sum_cpu_gbps = t.rates.dram_gbps = 0.8;
	walk_result slow = walk_terms(2, 1, &t);
	assert_true(slow.streamed > 0 && slow.on_cpu >= slow.streamed);
	/* No expert before 9 copies, which is more than it should wait for. */
	t.rates.sum_cpu_gbps = t.rates.dram_gbps = 1.0 / 18;
	assert_int_equal(walk_terms(2, 1, &t).on_cpu, 0);
}

static void all_that_is_demanded_gets_a_path(void **state)
{
	(void)state;
	for (uint32_t slots = 2; slots <= LAYERS * EXPERTS; slots += 5) {
		walk_result off = walk_slots(slots, 1, false), on = walk_slots(slots, 1, true);
		assert_int_equal(off.steps, STEPS);
		assert_int_equal(off.uses, STEPS * LAYERS * 2);
		assert_int_equal(off.hits + off.streamed, off.uses);
		assert_int_equal(off.on_cpu, 0);
		assert_int_equal(on.hits + on.streamed + on.on_cpu, on.uses);
		assert_true(slots > 12 || on.on_cpu > 0);
	}
}

/* The slower the link, the more experts that were admitted are demanded before their copy has begun. */
static void a_slow_link_brings_what_is_owed_late(void **state)
{
	(void)state;
	timing_terms t = terms();
	t.cpu = true;
	walk_result fast = walk_terms(12, 1, &t);
	t.rates.link_gbps = 0.01;
	t.rates.sum_link_gbps = 0.005;
	walk_result slow = walk_terms(12, 1, &t);
	assert_true(slow.hits < fast.hits);
	assert_int_equal(slow.hits + slow.streamed + slow.on_cpu, slow.uses);
	assert_true(slow.sum.link_ns > 0 && fast.sum.link_ns > 0);
}

static void owed_copies_keep_their_turn(void **state)
{
	(void)state;
	backlog b = {0};
	cache *c;
	cache_placement place;
	const cache_config config = {
		.slots = 2, .ring = 1, .layers = 1, .experts = 8, .policy = policy_find(NULL)};
	assert_int_equal(backlog_open(8, &b), UFM_OK);
	backlog_start(&b, 3);
	for (uint32_t key = 7; key > 2; key--)
		backlog_add(&b, key);
	backlog_add(&b, 7);
	assert_int_equal(b.count, 5);
	backlog_remove(&b, 6);
	backlog_remove(&b, 0);
	backlog_start(&b, 1);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.keys[0], 5);
	assert_false(b.waits[7] || b.waits[6]);
	assert_true(b.waits[5] && b.waits[4] && b.waits[3]);
	/* Only one has a slot. */
	assert_int_equal(cache_open(&config, &c), UFM_OK);
	assert_int_equal(cache_place_free(c, 4, &place), UFM_OK);
	backlog_drop_evicted(&b, c);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.keys[0], 4);
	assert_false(b.waits[5]);
	backlog_start(&b, 9);
	assert_int_equal(b.count, 0);
	cache_close(c);
	backlog_close(&b);
}

/* ---- the choice */

static void the_quicker_way_is_chosen(void **state)
{
	(void)state;
	plan_point p = {.decode = {.known = true, .tokens_per_s = 10},
	                .prefill = {.known = true, .tokens_per_s = 10},
	                .prefill_cpu = {.known = true, .tokens_per_s = 9}};
	assert_ptr_equal(point_decode(&p), &p.decode);
	p.decode_cpu = (point_way){.known = true, .tokens_per_s = 11};
	assert_ptr_equal(point_decode(&p), &p.decode_cpu);
	assert_ptr_equal(point_prefill(&p), &p.prefill);
	assert_string_equal(point_way_name(&p, point_decode(&p)), "cpu+link");
	assert_string_equal(point_way_name(&p, point_prefill(&p)), "link");
	p.prefill_cpu.tokens_per_s = 10; /* equal: the cores are left to others */
	assert_ptr_equal(point_prefill(&p), &p.prefill);
}

static void everything_resident_misses_nothing(void **state)
{
	(void)state;
	walk_result r = walk_slots(LAYERS * EXPERTS, 3, true);
	assert_int_equal(r.hits, r.uses);
	assert_int_equal(r.whole_calls, STEPS * LAYERS);
	assert_true(r.sum.link_ns <= 0);
}

/* Layers whose tokens demand nearly all experts in turn: the default policy keeps what fits. */
static void a_sweep_keeps_its_slots(void **state)
{
	(void)state;
	walk_result r = walk_slots(12, 16, false);
	double hits = (double)r.hits / (double)r.steps;
	assert_true(hits > 6 && hits <= 14); /* a granule has room for up to two more */
}

/* ---- shapes and routing */

static void shapes_are_checked(void **state)
{
	(void)state;
	plan_shape shape;
	shape_given given = {.layers = 1,
	                     .experts = 4,
	                     .top_k = 5,
	                     .d_model = 8,
	                     .d_hidden = 8,
	                     .kind = UFM_EXPERT_GATED,
	                     .dtype = UFM_F32};
	assert_int_equal(shape_of_given(&given, &shape), UFM_EINVAL);
	given.top_k = 4;
	assert_int_equal(shape_of_given(&given, &shape), UFM_OK);
	near(shape_parameters(&shape), 3 * 64);
	given.layers = 4096;
	given.experts = 65536;
	assert_int_equal(shape_of_given(&given, &shape), UFM_EINVAL);
	assert_int_equal(shape_of_path("/nowhere/at-all", NULL, &shape), UFM_EFILE);
}

static void plan_routing_is_named(void **state)
{
	(void)state;
	assert_int_equal(plan_routing_check("uniform"), UFM_OK);
	assert_int_equal(plan_routing_check("trace:x.npy"), UFM_OK);
	assert_int_equal(plan_routing_check("sticky"), UFM_OK);
	assert_int_equal(plan_routing_check("sticky:0.4,1,0"), UFM_OK);
	assert_int_equal(plan_routing_check("sticky:"), UFM_EINVAL);
	assert_int_equal(plan_routing_check("trace:"), UFM_EINVAL);
	assert_true(plan_routing_is_known("trace:x") && plan_routing_is_known("sticky:olmoe-1b-7b"));
	assert_false(plan_routing_is_known("uniform"));
	assert_int_equal(plan_routing_check("zipf:1"), UFM_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_resident_layer_is_read_and_computed),
		cmocka_unit_test(rows_fill_tiles),
		cmocka_unit_test(a_layer_that_hits_waits_for_ids),
		cmocka_unit_test(the_cpu_reads_or_computes),
		cmocka_unit_test(the_host_runs_as_far_ahead_as_it_has_buffers),
		cmocka_unit_test(misses_come_over_the_link),
		cmocka_unit_test(link_and_cpu_share),
		cmocka_unit_test(known_ids_let_calls_overlap),
		cmocka_unit_test(every_backend_has_costs),
		cmocka_unit_test(a_prefetcher_hides_what_idles),
		cmocka_unit_test(a_budget_gives_the_slots_it_was_made_for),
		cmocka_unit_test(budgets_are_listed_or_chosen),
		cmocka_unit_test(all_that_is_demanded_gets_a_path),
		cmocka_unit_test(the_cpu_takes_all_that_is_done_before_one_copy),
		cmocka_unit_test(what_is_owed_is_copied_beside_the_cpu),
		cmocka_unit_test(what_is_owed_goes_together),
		cmocka_unit_test(a_slow_link_brings_what_is_owed_late),
		cmocka_unit_test(owed_copies_keep_their_turn),
		cmocka_unit_test(the_quicker_way_is_chosen),
		cmocka_unit_test(everything_resident_misses_nothing),
		cmocka_unit_test(a_sweep_keeps_its_slots),
		cmocka_unit_test(shapes_are_checked),
		cmocka_unit_test(plan_routing_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
