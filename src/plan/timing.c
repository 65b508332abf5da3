/* SPDX-License-Identifier: MIT */
/* The table of costs, and the arithmetic. */
#include "plan/timing.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "pager/owed.h"

/* The only place of fitted figures; docs/plan-model.md tells which rows each is from and which rows it was tested on. */
static const timing_costs table[] = {
	{.backend = "cuda",
     /* h100-speed/resident: 47.9 us a layer, of which 24.6 are 75.5 MB at the probed rate;
      * h200-defaults-949f26f/exact: 39.2 and 17.2. */
     .resident_ns = 23e3,
     /* plan-h100/coarse_half, steps of one miss: in layers 0 to 2 each layer before hides 50 us of its copy. */
     .call_ns = 29e3,
     /* h100-speed/small, alone_192 and alone_768, prefill: 12 and 18 us for each launch of a layer. */
     .launch_ns = 16e3,
     /* PAGER_CALLS; in the same steps, a miss in any layer from 4 on hides 0.31 ms of its copy. */
     .calls_ahead = 4,
     /* h200-defaults-949f26f/decode and exact, one token, off: 52 to 55 us a layer that misses nothing, of which 17
      * are read. */
     .launch_one_ns = 5e3,
     .ids_ns = 18e3,
     .end_ns = 12e3,
     /* plan-h100/coarse_half, one token, ids ahead: 95 us a layer that misses nothing, of which 65 are 199 MB at
      * the probed rate. h200-defaults-949f26f/decode, eight tokens, 80 %, off: 270 us a layer; 262 are planned with
      * it, 255 without. */
     .start_ns = 18e3,
     /* h200-defaults-949f26f/decode and exact, one token, off, by least squares: 8 us more where a layer misses,
      * and 172 a miss; of eight tokens 176 a miss. The link needs 175. */
     .copy_gap_ns = 1e3,
     .copy_start_ns = 25e3,
     /* h200-beside/rows, copies made or not: 38 to 53 us each, of which 1.3 layers begin under one. */
     .under_copy_ns = 38e3,
     /* h200-beside/layers: the CPU begins 36 us after the layer, of which 18 are ids_ns, and from its end to combine
      * it is 32. h200-defaults-949f26f/decode and exact, on, earlier build, one token: 81 to 95 us an expert, where the
      * host's memory would give 82 alone and 90 to 94 beside the link. */
     .shared_ns = 50e3,
     .cpu_expert_ns = 3e3,
     /* h100-speed/prefill: routing 0.5, row table 0.7, combination 0.3 ms for 8,192 tokens (timeline). */
     .token_ns = 200,
     /* h100-speed/reference and bf16, ufm, 96 experts: 4.79 ms of 4.19 to read and 2.38 to compute, which is 0.25;
      * 2.35 of 2.10 and 0.77, which is 0.33. */
     .overlap = 0.28,
     .tiles = true,
     /* h100-speed/qwen3_cpu, prefill of 512: 353 us for about 27 rows of 9.4 MB in bf16 by 15 threads. */
     .cpu_thread_gflops = 50,
     /* h100-speed/gptoss_cpu: of two misses of 0.47 ms each by the CPU one comes in 1.1 ms by the link now and then:
      * 7 % of all were streamed. */
     .cpu_stray = 0.25,
     /* The lowest tenth of what link and host memory keep of their own rates, in all rows of h100-speed. */
     .sum_link = 0.79,
     .sum_cpu = 0.80},
	/* Two cores, by hand, from runs that are in no table (docs/plan-model.md): where all was hit 270 to 390 us a layer more
	 * than reading took, wholly resident 60 to 80; copies hide nothing of the layer before, and who sleeps for an
	 * emulated one wakes 130 to 230 us late. */
	{.backend = "cpu",
     .resident_ns = 70e3,
     .calls_ahead = 1,
     .end_ns = 300e3,
     .shared_ns = 150e3, /* plan-2-cores/quiet_cpu */
     .token_ns = 5000,
     .copy_gap_ns = 150e3,
     .overlap = 0.25,
     .cpu_thread_gflops = 60,
     .cpu_stray = 0.25,
     .sum_link = 0.6,
     .sum_cpu = 0.6},
};

const timing_costs *timing_costs_of(const char *backend)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strcmp(table[i].backend, backend) == 0)
			return &table[i];
	return NULL;
}

const char *timing_bound_name(timing_bound bound)
{
	static const char *const names[TIMING_BOUNDS] = {"hbm", "compute", "link", "cpu+link",
	                                                 "host overhead"};
	return names[bound];
}

/* A CPU that computes leaves the host's memory to the link. */
double timing_copy_ns(const timing_terms *t, double cpu_duty)
{
	const timing_rates *r = &t->rates;
	double alone_gbps = fmax(r->link_gbps, r->sum_link_gbps);
	double lost_gbps = cpu_duty > 0 ? cpu_duty * (alone_gbps - r->sum_link_gbps) : 0;
	return (double)t->expert_bytes / (alone_gbps - lost_gbps);
}

double timing_copy_learned_ns(const timing_terms *t, double cpu_duty)
{
	return timing_copy_ns(t, cpu_duty) + t->costs->copy_gap_ns;
}

/* ------------------------------------------------------------------ the CPU */

static double cpu_compute_ns(const timing_terms *t, uint32_t rows)
{
	return rows * t->row_operations / (t->costs->cpu_thread_gflops * t->rates.cpu_threads);
}

double timing_cpu_ns(const timing_terms *t, uint32_t rows)
{
	double read_ns = (double)t->expert_bytes / t->rates.sum_cpu_gbps;
	return fmax(read_ns, cpu_compute_ns(t, rows)) + t->costs->cpu_expert_ns;
}

double timing_cpu_alone_ns(const timing_terms *t, uint32_t rows)
{
	double gbps = fmax(t->rates.dram_gbps, t->rates.sum_cpu_gbps);
	return fmax((double)t->expert_bytes / gbps, cpu_compute_ns(t, rows)) + t->costs->cpu_expert_ns;
}

double timing_cpu_duty(const timing_terms *t, uint32_t rows)
{
	return (double)t->expert_bytes / t->rates.sum_cpu_gbps / timing_cpu_ns(t, rows);
}

/* ------------------------------------------------------------------ the device */

/* As device/cuda/product/product.cu chooses them; up to two rows are computed while the weights come. Warpgroups' tiles are
 * as wide as rows want them, and those of one expert find its weights in the device's cache. */
#define TILE_ROWS 32u
#define WIDE_ROWS 8u
#define WIDE_ABOVE 8u

static bool is_wide(const timing_terms *t, uint32_t rows)
{
	return t->wide && rows > WIDE_ABOVE;
}

static uint32_t in_tiles(const timing_terms *t, uint32_t rows)
{
	uint32_t step = is_wide(t, rows) || rows <= 8 ? WIDE_ROWS
	                : rows <= 16                  ? 16
	                : rows <= 24                  ? 24
	                                              : TILE_ROWS;
	return rows <= 2 ? rows : (rows + step - 1) / step * step;
}

void timing_add_expert(const timing_terms *t, uint32_t rows, timing_layer *layer)
{
	bool tiles = t->costs->tiles;
	layer->on_device++;
	bool passes = tiles && !is_wide(t, rows);
	layer->device_rows += tiles ? in_tiles(t, rows) : rows;
	layer->device_passes += passes ? (rows + TILE_ROWS - 1) / TILE_ROWS : 1;
}

/* What the device needs for its experts, had nothing to come; gives what bounds it. Tiles of an expert run side by
 * side and read its weights once, but in a call without the host they follow each other. */
static double device_ns(const timing_terms *t, const timing_layer *l, timing_bound *bound)
{
	double reads = l->whole ? (double)l->device_passes : (double)l->on_device;
	double read_ns = reads * (double)t->expert_bytes / t->rates.hbm_gbps;
	double compute_ns = 0;
	if (t->rates.peak_gflops > 0)
		compute_ns = (double)l->device_rows * t->row_operations / t->rates.peak_gflops;
	*bound = compute_ns > read_ns ? TIMING_COMPUTE : TIMING_HBM;
	return fmax(read_ns, compute_ns) + t->costs->overlap * fmin(read_ns, compute_ns);
}

/* ------------------------------------------------------------------ a call */

static void spend(timing_step *step, timing_bound bound, double ns)
{
	step->parts_ns[bound] += ns;
	step->ns += ns;
}

/* What the copy under which the next layer begins costs that. */
static double under_copy_ns(const timing_terms *t, const timing_step *step)
{
	double left_ns = step->owed_at_ns - step->ns;
	return left_ns > 0 ? fmin(left_ns, t->costs->under_copy_ns) : 0;
}

/* From the end of the layer before until the host has what the CPU computes with. */
static double inputs_ns(const timing_terms *t)
{
	return t->given ? t->costs->start_ns : t->costs->ids_ns;
}

/* Where the end of the next call is kept, and that of the one so many before it is. */
static double *call_end_ns(const timing_terms *t, timing_step *step)
{
	assert(t->costs->calls_ahead > 0);
	return &step->call_end_ns[step->calls % t->costs->calls_ahead];
}

static void end_call(const timing_terms *t, timing_step *step)
{
	*call_end_ns(t, step) = step->ns;
	step->calls++;
}

/* The host has the buffers of a call again when that has ended; it waits for ids that the device makes, and for
 * what the CPU computes with. */
static double ready_ns(const timing_terms *t, const timing_layer *l, timing_step *step)
{
	const timing_costs *c = t->costs;
	double ready = step->host_at_ns + c->call_ns;
	if (step->calls >= c->calls_ahead)
		ready = fmax(ready, *call_end_ns(t, step));
	if (!t->given || l->on_cpu)
		ready = fmax(ready, step->ns + inputs_ns(t));
	return ready + under_copy_ns(t, step) + l->tokens * c->token_ns;
}

double timing_link_busy_ns(const timing_terms *t, const timing_step *step)
{
	return fmax(0, step->link_at_ns - step->ns - inputs_ns(t));
}

/* Rows are gathered; a single token, while its ids are on the way. */
static double start_ns(const timing_terms *t, const timing_layer *l)
{
	return t->given || l->tokens > 1 ? t->costs->start_ns : 0;
}

static double launch_ns(const timing_terms *t, const timing_layer *l)
{
	return l->tokens == 1 ? t->costs->launch_one_ns : t->costs->launch_ns;
}

/* Link or CPU work from one moment to another, which may have begun before what is counted already ended. */
static void busy(timing_step *step, double from_ns, double to_ns)
{
	step->link_ns += fmax(0, to_ns - fmax(from_ns, step->busy_at_ns));
	step->busy_at_ns = fmax(step->busy_at_ns, to_ns);
}

/* Products of a call: how far the device is, until when it has last waited for what comes, and what it computed
 * since. */
typedef struct progress {
	double at_ns, came_ns, computed_ns;
} progress;

static void compute(progress *p, double ns)
{
	p->at_ns += ns;
	p->computed_ns += ns;
}

static void await(progress *p, double ns)
{
	if (ns <= p->at_ns)
		return;
	p->at_ns = p->came_ns = ns;
	p->computed_ns = 0;
}

static uint32_t together_of(const timing_layer *l)
{
	return l->together ? l->together : 1;
}

static void copy(const timing_terms *t, double from_ns, double ns, timing_step *step)
{
	const timing_costs *c = t->costs;
	double start_ns = step->link_at_ns > from_ns ? 0 : c->copy_start_ns;
	step->link_at_ns = fmax(step->link_at_ns, from_ns) + start_ns + ns + c->copy_gap_ns;
}

/* Residents are computed first, as far as time goes, though they are launched in between, some before each copy's
 * experts; those are computed when they are there and launched. Gives the host's clock. */
static double launch(const timing_terms *t, const timing_layer *l, double ready, double each_ns,
                     progress *p, timing_step *step)
{
	double copy_ns = timing_copy_ns(t, l->on_cpu ? l->cpu_duty : 0), launching = launch_ns(t, l);
	double host = ready + launching;
	uint32_t together = together_of(l), residents = l->on_device - l->streamed;
	for (uint32_t n, left = l->streamed; left; left -= n) {
		n = left < together ? left : together;
		copy(t, host - launching, n * copy_ns, step);
		p->at_ns = fmax(p->at_ns, host);
		await(p, step->link_at_ns);
		compute(p, n * each_ns);
		host += residents ? 2 * launching : launching;
		residents -= residents > 0;
	}
	return host;
}

static void begin_owed(const timing_terms *t, uint32_t together, double from_ns, timing_step *step)
{
	uint32_t n = step->owed < together ? step->owed : together;
	step->owed -= n;
	step->link_at_ns = from_ns + n * timing_copy_ns(t, 0) + t->costs->copy_gap_ns;
	step->owed_at_ns = step->link_at_ns;
	busy(step, from_ns, step->link_at_ns);
}

/* While the CPU computes and the layer has nothing more for the link, which ends later than the layer, perhaps. */
static void begin_beside_cpu(const timing_terms *t, const timing_layer *l, double ready,
                             timing_step *step)
{
	double from_ns = fmax(step->link_at_ns, ready);
	if (step->owed && l->on_cpu && from_ns < ready + l->cpu_ns)
		begin_owed(t, together_of(l), from_ns, step);
}

/* OWED_WAITING_MAX of pager/owed.h. */
static void begin_waiting(const timing_terms *t, const timing_layer *l, timing_step *step)
{
	step->owed += l->owed;
	if (step->owed > OWED_WAITING_MAX && step->link_at_ns <= step->ns)
		begin_owed(t, together_of(l), step->ns, step);
}

static void add_resident(const timing_terms *t, const timing_layer *l, timing_step *step)
{
	timing_bound bound;
	double device = device_ns(t, l, &bound);
	spend(step, TIMING_HOST,
	      t->costs->resident_ns + under_copy_ns(t, step) + l->tokens * t->costs->token_ns);
	spend(step, bound, device);
	end_call(t, step);
}

/* Of the time from the end of the layer before: until the last that came is the link's, from when the host let it
 * begin; what is computed after that is the device's; all else the host's. */
static void account(const timing_layer *l, const progress *p, double ready, timing_bound device,
                    double end, timing_step *step)
{
	double from = fmax(step->ns, ready), all = end - step->ns;
	double came = p->came_ns > 0 ? p->came_ns - from : 0;
	spend(step, l->on_cpu ? TIMING_SHARED : TIMING_LINK, came);
	spend(step, device, p->computed_ns);
	spend(step, TIMING_HOST, all - came - p->computed_ns);
}

void timing_add(const timing_terms *t, const timing_layer *l, timing_step *step)
{
	const timing_costs *c = t->costs;
	timing_bound bound = TIMING_HBM;
	if (l->whole) {
		add_resident(t, l, step);
		return;
	}
	double each = l->on_device ? device_ns(t, l, &bound) / l->on_device : 0;
	double ready = ready_ns(t, l, step), link_from = fmax(step->link_at_ns, ready);
	double begun = fmax(step->ns, ready + launch_ns(t, l));
	progress p = {.at_ns = begun + start_ns(t, l)};
	compute(&p, (l->on_device - l->streamed) * each);
	double host = launch(t, l, ready, each, &p, step);
	if (l->streamed)
		busy(step, link_from, step->link_at_ns);
	if (l->on_cpu) {
		await(&p, ready + c->shared_ns + l->cpu_ns);
		busy(step, ready, ready + l->cpu_ns);
	}
	step->host_at_ns = host;
	begin_beside_cpu(t, l, ready, step);
	account(l, &p, ready, bound, p.at_ns + c->end_ns, step);
	end_call(t, step);
	begin_waiting(t, l, step);
}

timing_step timing_next_step(const timing_step *before)
{
	return (timing_step){.owed = before->owed,
	                     .link_at_ns = fmax(0, before->link_at_ns - before->ns),
	                     .owed_at_ns = fmax(0, before->owed_at_ns - before->ns),
	                     .busy_at_ns = fmax(0, before->busy_at_ns - before->ns)};
}

double timing_hit_ns(const timing_terms *t, uint32_t tokens, uint32_t experts)
{
	timing_step step = {0};
	timing_layer layer = {.tokens = tokens};
	for (uint32_t i = 0; i < experts; i++)
		timing_add_expert(t, 1, &layer);
	timing_add(t, &layer, &step);
	double first_ns = step.ns;
	timing_add(t, &layer, &step);
	return step.ns - first_ns;
}

timing_bound timing_binds(const timing_step *step)
{
	timing_bound most = TIMING_HBM;
	for (timing_bound i = TIMING_HBM; i < TIMING_BOUNDS; i++)
		if (step->parts_ns[i] > step->parts_ns[most])
			most = i;
	return most;
}
