/* SPDX-License-Identifier: MIT */
/* Probes in place: a unit of work is enqueued often enough for a measurement to last, and the median of
 * some measurements counts. */
#include "probe/probe.h"

#include <stdbool.h>
#include <stdlib.h>
#include <ufm/policy.h>

#include "bank/bank.h"
#include "base/clock.h"
#include "base/median.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "probe/team.h"

#define REPEATS_MAX 11u
#define REPEAT_NS 5000000u /* one measurement: starting it is nothing beside it */
#define UNITS_MAX 128u     /* enqueued at once; queues hold more */
#define SLICES 7u          /* of the time for what the CPU does; an odd number */
#define HBM_BYTES ((uint64_t)1 << 30)
#define HBM_BYTES_MAX ((uint64_t)4 << 30) /* where one read of HBM_BYTES is over too soon */

typedef struct probe probe;
typedef ufm_status (*probe_unit)(probe *p, uint32_t index);

struct probe {
	const probe_config *config;
	ufm_engine *engine;
	const ufm_backend *b;
	ufm_stream *stream;
	const ufm_host *host;
	const ufm_expert_desc *desc;
	const workspace *ws;
	pager_events events;
	uint32_t keys, slots, slot_next, key_next;
	uint32_t together; /* blocks that a copy brings */
	ufm_devptr range;  /* of device memory that holds something, to be read */
	uint64_t range_bytes;
	probe_team *team;
	uint64_t until_ns; /* of a run of the team */
};

/* ---- a measurement */

static ufm_status enqueue(probe *p, probe_unit unit, uint32_t count)
{
	ufm_status status = p->b->event_record(p->events.begin, p->stream);
	for (uint32_t i = 0; !status && i < count; i++)
		status = unit(p, i);
	return status ? status : p->b->event_record(p->events.end, p->stream);
}

static ufm_status finish(probe *p, uint64_t *elapsed_ns)
{
	ufm_status status = p->b->event_sync(p->events.end, UFM_WAIT_FOREVER);
	if (!status)
		status = p->b->event_elapsed(p->events.begin, p->events.end, elapsed_ns);
	if (!status && *elapsed_ns == 0)
		*elapsed_ns = 1;
	return status;
}

static ufm_status time_units(probe *p, probe_unit unit, uint32_t count, uint64_t *elapsed_ns)
{
	ufm_status status = enqueue(p, unit, count);
	ufm_status ended = finish(p, elapsed_ns);
	return status ? status : ended;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* What one unit takes when `least` or more follow each other. The first one only shows how long it is. */
static ufm_status unit_time(probe *p, probe_unit unit, uint32_t least, double *each_ns)
{
	uint64_t took[REPEATS_MAX], begin_ns = clock_now_ns();
	uint32_t repeats = 0;
	ufm_status status = time_units(p, unit, 1, &took[0]);
	if (status)
		return status;
	uint64_t fit = REPEAT_NS / took[0] + 1;
	uint32_t count = fit > UNITS_MAX ? UNITS_MAX : (uint32_t)fit;
	if (count < least)
		count = least;
	do
		status = time_units(p, unit, count, &took[repeats++]);
	while (!status && repeats < REPEATS_MAX && clock_now_ns() - begin_ns < p->config->budget_ns);
	qsort(took, repeats, sizeof *took, compare);
	uint64_t median_ns = took[repeats / 2];
	*each_ns = (double)median_ns / count;
	return status;
}

/* ---- link: each block into the slot that holds it already */

static ufm_devptr next_target(probe *p, uint32_t *key)
{
	*key = p->key_next;
	p->key_next = (p->key_next + 1) % p->keys;
	if (p->config->block)
		return p->config->block;
	for (uint32_t i = 0; i < p->slots; i++) {
		uint32_t held, slot = p->slot_next;
		p->slot_next = (p->slot_next + 1) % p->slots;
		ufm_devptr at = pager_slot(p->engine, slot, &held);
		if (held == UFM_KEY_NONE)
			continue;
		*key = held;
		return at;
	}
	/* All are empty: what one holds counts for nothing. */
	uint32_t none;
	return pager_slot(p->engine, 0, &none);
}

/* As the pager does, small blocks several at once, but never two into one slot. */
static uint32_t find_together(probe *p)
{
	uint32_t most = pager_copies_together(p->engine), held = 0;
	for (uint32_t slot = 0; slot < p->slots && !p->config->block; slot++) {
		uint32_t key;
		(void)pager_slot(p->engine, slot, &key);
		held += key != UFM_KEY_NONE;
	}
	return held < most ? (held ? held : 1) : most;
}

static double copy_bytes(const probe *p)
{
	return (double)p->together * (double)p->desc->expert_bytes;
}

static ufm_status copy_blocks(probe *p, uint32_t index)
{
	ufm_devptr to[BUDGET_TOGETHER], from[BUDGET_TOGETHER];
	(void)index;
	for (uint32_t i = 0; i < p->together; i++) {
		uint32_t key;
		to[i] = next_target(p, &key);
		from[i] = (ufm_devptr)(uintptr_t)host_block(p->host, key);
	}
	ufm_copies_args args = {.kind = UFM_COPY_H2D,
	                        .count = p->together,
	                        .dst = to,
	                        .src = from,
	                        .size_bytes = p->desc->expert_bytes};
	return p->b->copies(p->stream, &args);
}

static ufm_status probe_link(probe *p, probe_rates *out)
{
	double each_ns;
	ufm_status status = unit_time(p, copy_blocks, 2, &each_ns);
	if (!status)
		out->link_gbps = copy_bytes(p) / each_ns;
	return status;
}

/* ---- device memory */

/* The longest run of slots that hold an expert: empty ones may have no memory of their own yet. */
static void find_range(probe *p)
{
	uint64_t block_bytes = p->desc->block_bytes;
	uint32_t run = 0, best = 0;
	p->range = p->config->block;
	p->range_bytes = p->desc->expert_bytes;
	for (uint32_t slot = 0; !p->config->block && slot < p->slots; slot++) {
		uint32_t key;
		ufm_devptr at = pager_slot(p->engine, slot, &key);
		run = key == UFM_KEY_NONE ? 0 : run + 1;
		if (run > best || !p->range) {
			best = run;
			p->range = at - (run ? run - 1 : 0) * block_bytes;
			p->range_bytes = (run ? run : 1) * block_bytes;
		}
	}
	if (p->range_bytes > HBM_BYTES_MAX)
		p->range_bytes = HBM_BYTES_MAX;
	p->range_bytes -= p->range_bytes % 16;
}

static ufm_status read_range(probe *p, uint32_t index)
{
	(void)index;
	return p->b->read(p->stream, p->range, p->range_bytes, p->ws->ids);
}

static ufm_status probe_hbm(probe *p, probe_rates *out)
{
	uint64_t first_ns;
	double each_ns;
	find_range(p);
	uint64_t most_bytes = p->range_bytes;
	if (most_bytes > HBM_BYTES)
		p->range_bytes = HBM_BYTES;
	ufm_status status = time_units(p, read_range, 1, &first_ns);
	if (!status && first_ns < REPEAT_NS / 4)
		p->range_bytes = most_bytes;
	if (!status)
		status = unit_time(p, read_range, 1, &each_ns);
	if (!status)
		out->hbm_gbps = (double)p->range_bytes / each_ns;
	return status;
}

/* ---- arithmetic */

#define ROWS_MIN 256u   /* fewer in a call, and weights are what bounds it */
#define ROWS_ENTRY 512u /* of one expert */
#define ROWS_MAX 8192u
#define LONG_NS 20000000u

/* Whatever the workspace holds is multiplied. */
static ufm_status time_experts(probe *p, pager_call *call, uint32_t rows, uint64_t *elapsed_ns)
{
	ufm_experts_args args = {.desc = p->desc,
	                         .entries = call->entries,
	                         .x = p->ws->x,
	                         .hidden = p->ws->hidden,
	                         .y = p->ws->table,
	                         .math = p->config->math};
	for (uint32_t at = 0; at < rows && args.entry_count < call->entries_max; at += ROWS_ENTRY) {
		uint32_t key, left = rows - at;
		call->entries[args.entry_count++] =
			(ufm_expert_rows){.block = next_target(p, &key),
		                      .row = at,
		                      .rows = left < ROWS_ENTRY ? left : ROWS_ENTRY};
	}
	ufm_status status = p->b->event_record(p->events.begin, p->stream);
	if (!status)
		status = p->b->experts(p->stream, &args);
	if (!status)
		status = p->b->event_record(p->events.end, p->stream);
	ufm_status ended = finish(p, elapsed_ns);
	return status ? status : ended;
}

static double operations(const ufm_expert_desc *desc, uint32_t rows)
{
	double parameters = 0;
	for (uint32_t i = 0; i < desc->part_count; i++)
		parameters += (double)desc->parts[i].rows * desc->parts[i].cols;
	return 2 * parameters * rows;
}

/* Not the first time, where there is time for a second. */
static ufm_status time_experts_warm(probe *p, pager_call *call, uint32_t rows, uint64_t *elapsed_ns)
{
	ufm_status status = time_experts(p, call, rows, elapsed_ns);
	if (!status && *elapsed_ns < LONG_NS / 4)
		status = time_experts(p, call, rows, elapsed_ns);
	return status;
}

static uint32_t rows_most(const probe *p, const pager_call *call)
{
	uint64_t most = (uint64_t)ROWS_ENTRY * call->entries_max;
	most = most < p->ws->piece_rows ? most : p->ws->piece_rows;
	return most < ROWS_MAX ? (uint32_t)most : ROWS_MAX;
}

/* More and more rows until that takes long: the best rate of all. */
static ufm_status probe_arithmetic(probe *p, probe_rates *out)
{
	uint64_t until_ns = clock_now_ns() + p->config->budget_ns, elapsed_ns = 0;
	pager_call *call = NULL;
	if (p->ws->piece_rows < ROWS_MIN)
		return UFM_OK;
	ufm_status status = pager_call_next(p->engine, &call);
	if (status)
		return status;
	for (uint32_t rows = ROWS_MIN / 4; rows <= rows_most(p, call); rows *= 2) {
		status = time_experts_warm(p, call, rows, &elapsed_ns);
		if (status)
			return status;
		double gflops = operations(p->desc, rows) / (double)elapsed_ns;
		out->gflops = gflops > out->gflops ? gflops : out->gflops;
		if (elapsed_ns > LONG_NS || clock_now_ns() > until_ns)
			break;
	}
	return UFM_OK;
}

/* ---- the CPU, alone and beside the link */

static bool until_time(void *ctx)
{
	const probe *p = ctx;
	return clock_now_ns() < p->until_ns;
}

typedef struct both_rates {
	double link_gbps, cpu_gbps;
} both_rates;

static bool until_copied(void *ctx)
{
	const probe *p = ctx;
	int done = 0;
	return p->b->event_query(p->events.end, &done) == UFM_OK && !done;
}

/* What is measured in one go others may disturb: the median of several counts. */
static double cpu_alone(probe *p, probe_work work)
{
	double gbps[SLICES];
	for (uint32_t i = 0; i < SLICES; i++) {
		p->until_ns = clock_now_ns() + p->config->budget_ns / SLICES;
		gbps[i] = probe_team_run(p->team, work, until_time, p);
	}
	return median_of(gbps, SLICES);
}

/* Copies for as long as a share of the budget says; the team works until the last one has ended. */
static ufm_status both_once(probe *p, probe_work work, double link_gbps, both_rates *out)
{
	double budget_bytes = (double)p->config->budget_ns / SLICES * link_gbps;
	uint64_t elapsed_ns = 0, fit = (uint64_t)(budget_bytes / copy_bytes(p)) + 2;
	uint32_t count = fit > UNITS_MAX ? UNITS_MAX : (uint32_t)fit;
	ufm_status status = enqueue(p, copy_blocks, count);
	out->cpu_gbps = status ? 0 : probe_team_run(p->team, work, until_copied, p);
	ufm_status ended = finish(p, &elapsed_ns);
	out->link_gbps = copy_bytes(p) * count / (double)elapsed_ns;
	return status ? status : ended;
}

static int compare_sums(const void *a, const void *b)
{
	const both_rates *x = a, *y = b;
	double first = x->link_gbps + x->cpu_gbps, second = y->link_gbps + y->cpu_gbps;
	return (first > second) - (first < second);
}

static ufm_status both(probe *p, probe_work work, probe_rates *out)
{
	both_rates rates[SLICES];
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < SLICES && !status; i++)
		status = both_once(p, work, out->link_gbps, &rates[i]);
	if (status)
		return status;
	qsort(rates, SLICES, sizeof *rates, compare_sums);
	out->sum_link_gbps = rates[SLICES / 2].link_gbps;
	out->sum_cpu_gbps = rates[SLICES / 2].cpu_gbps;
	return UFM_OK;
}

static ufm_status probe_cpu(probe *p, probe_rates *out)
{
	double read_gbps, product_gbps;
	out->threads = probe_team_threads();
	ufm_status status = probe_team_open(p->host, out->threads, &p->team);
	if (status)
		return status;
	read_gbps = cpu_alone(p, PROBE_READ);
	product_gbps = cpu_alone(p, PROBE_PRODUCT);
	out->dram_gbps = read_gbps > product_gbps ? read_gbps : product_gbps;
	status = both(p, read_gbps > product_gbps ? PROBE_READ : PROBE_PRODUCT, out);
	probe_team_close(p->team);
	return status;
}

/* ---- all of it */

static ufm_status probe_each(probe *p, probe_rates *out)
{
	ufm_status status = probe_link(p, out);
	if (!status)
		status = probe_hbm(p, out);
	if (!status)
		status = probe_arithmetic(p, out);
	if (!status)
		status = probe_cpu(p, out);
	return status;
}

ufm_status probe_all(const probe_config *config, probe_rates *out)
{
	ufm_engine *e = config->engine;
	probe_rates rates = {0};
	probe p = {.config = config,
	           .engine = e,
	           .b = engine_backend(e),
	           .stream = engine_stream(e),
	           .host = engine_host(e),
	           .ws = pager_get_workspace(e)};
	p.desc = bank_desc(host_bank(p.host));
	p.keys = bank_key_count(host_bank(p.host));
	engine_enter(e);
	p.slots = pager_slots(e);
	p.together = find_together(&p);
	ufm_status status = pager_rest(e, &p.events);
	if (!status)
		status = probe_each(&p, &rates);
	ufm_status ended = p.b->stream_sync(p.stream);
	engine_leave(e);
	if (status || ended)
		return status ? status : ended;
	*out = rates;
	return UFM_OK;
}
