/* SPDX-License-Identifier: MIT */
/* The table of costs, and the arithmetic. */
#include "cli/plan/timing.h"

#include <math.h>
#include <string.h>

/* The only place of fitted figures; docs/plan.md tells which rows each is from and which rows it was tested on. */
static const timing_costs table[] = {
	{.backend = "cuda",
     /* h100-speed/resident: 47.9 us a layer, of which 24.6 are 75.5 MB at the probed rate. */
     .resident_layer_ns = 23e3,
     /* h100-speed/qwen3, decode, CPU off: 1,090 us a layer, of which 1,000 are copies. */
     .wait_layer_ns = 90e3,
     /* h100-speed/qwen3_cpu, decode: 512 us a layer, of which 410 are the best split. */
     .shared_layer_ns = 102e3,
     /* h100-speed/gptoss: 804 us a layer, of which 778 are copies. */
     .given_layer_ns = 20e3,
     .given_overlap = true,
     /* h100-speed/prefill: routing 0.5, row table 0.7, combination 0.3 ms for 8,192 tokens (timeline). */
     .token_ns = 200,
     /* h100-speed/small, alone_192: 157 us a layer with 5.7 copies. */
     .copy_ns = 13e3,
     /* h100-speed/reference and bf16, baseline: 4.89 ms of 4.19 to read and 1.55 to compute; 2.51 of 2.10 and 0.51. */
     .overlap = 0.4,
     /* h100-speed/qwen3_cpu, prefill of 512: 353 us for about 27 rows of 9.4 MB in bf16 by 15 threads. */
     .cpu_thread_gflops = 50,
     /* h100-speed/gptoss_cpu: two misses of 0.47 ms each by the CPU, or one of them in 1.1 ms by the link: 7 % of all
      * were streamed. */
     .cpu_stray = 0.25,
     /* The lowest tenth of what link and host memory keep of their own rates, in all rows of h100-speed. */
     .sum_link = 0.79,
     .sum_cpu = 0.80},
	/* Two cores, by hand, from runs that are in no table (docs/plan.md): where all was hit 270 to 390 us a layer more
     * than reading took, wholly resident 60 to 80; copies hide nothing of the layer before, and who sleeps for an
     * emulated one wakes 130 to 230 us late. */
	{.backend = "cpu",
     .resident_layer_ns = 70e3,
     .wait_layer_ns = 300e3,
     .shared_layer_ns = 350e3,
     .given_layer_ns = 300e3,
     .token_ns = 5000,
     .copy_ns = 100e3,
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

double timing_copy_ns(const timing_terms *t)
{
	return (double)t->expert_bytes / t->rates.link_gbps;
}

/* Both sides share the host's memory, so each has its rate of that. */
double timing_shared_copy_ns(const timing_terms *t)
{
	return (double)t->expert_bytes / t->rates.sum_link_gbps;
}

static double cpu_ns(const timing_terms *t, uint32_t rows, double gbps)
{
	double gflops = t->costs->cpu_thread_gflops * t->rates.cpu_threads;
	return fmax((double)t->expert_bytes / gbps, rows * t->row_operations / gflops);
}

double timing_cpu_ns(const timing_terms *t, uint32_t rows)
{
	return cpu_ns(t, rows, t->rates.sum_cpu_gbps);
}

double timing_cpu_alone_ns(const timing_terms *t, uint32_t rows)
{
	return cpu_ns(t, rows, fmax(t->rates.dram_gbps, t->rates.sum_cpu_gbps));
}

/* What the device needs for its experts, had nothing to come; gives what bounds it. */
static double device_ns(const timing_terms *t, const timing_layer *l, timing_bound *bound)
{
	double read_ns = (double)l->on_device * (double)t->expert_bytes / t->rates.hbm_gbps;
	double compute_ns = 0;
	if (t->rates.peak_gflops > 0)
		compute_ns = (double)l->device_rows * t->row_operations / t->rates.peak_gflops;
	*bound = compute_ns > read_ns ? TIMING_COMPUTE : TIMING_HBM;
	return fmax(read_ns, compute_ns) + t->costs->overlap * fmin(read_ns, compute_ns);
}

/* What the misses need. */
static double miss_ns(const timing_terms *t, const timing_layer *l, timing_bound *bound)
{
	double each_ns = l->on_cpu ? timing_shared_copy_ns(t) : timing_copy_ns(t);
	double copies_ns = l->streamed * each_ns + l->copies * t->costs->copy_gap_ns;
	double link_ns = fmax(copies_ns, l->copies * t->costs->copy_ns);
	*bound = l->on_cpu ? TIMING_SHARED : TIMING_LINK;
	return fmax(link_ns, l->cpu_ns);
}

/* Where the ids are known ahead the host waits only to share misses with the CPU. */
static bool goes_ahead(const timing_terms *t, const timing_layer *l)
{
	return t->given && (!t->cpu || l->on_cpu + l->streamed == 0);
}

static double fixed_ns(const timing_terms *t, const timing_layer *l)
{
	const timing_costs *c = t->costs;
	double layer_ns = l->whole           ? c->resident_layer_ns
	                  : l->on_cpu        ? c->shared_layer_ns
	                  : goes_ahead(t, l) ? c->given_layer_ns
	                                     : c->wait_layer_ns;
	return layer_ns + l->tokens * c->token_ns;
}

static void spend(timing_step *step, timing_bound bound, double ns)
{
	step->parts_ns[bound] += ns;
	step->ns += ns;
}

void timing_add(const timing_terms *t, const timing_layer *l, timing_step *step)
{
	timing_bound device_bound, miss_bound;
	double device = device_ns(t, l, &device_bound), moved = miss_ns(t, l, &miss_bound);
	/* An expert that comes last is computed when all has come. */
	double last = l->streamed && l->on_device ? device / l->on_device : 0;
	step->link_ns += moved;
	step->device_ns += device;
	spend(step, TIMING_HOST, fixed_ns(t, l));
	if (moved > device - last) {
		spend(step, miss_bound, moved);
		spend(step, device_bound, last);
	} else {
		spend(step, device_bound, device);
	}
}

/* Calls whose ids are known ahead overlap: copies of one go on beside the products of another, and what is not hidden
 * by them is the longer of both sums. */
void timing_end(const timing_terms *t, timing_step *step)
{
	double longer = fmax(step->link_ns, step->device_ns);
	double hidden = step->ns - step->parts_ns[TIMING_HOST] - longer;
	timing_bound shorter = step->link_ns > step->device_ns ? TIMING_HBM : TIMING_LINK;
	if (!t->given || !t->costs->given_overlap || t->cpu || hidden <= 0)
		return;
	hidden = fmin(hidden, step->parts_ns[shorter]);
	step->parts_ns[shorter] -= hidden;
	step->ns -= hidden;
}

timing_bound timing_binds(const timing_step *step)
{
	timing_bound most = TIMING_HBM;
	for (timing_bound i = TIMING_HBM; i < TIMING_BOUNDS; i++)
		if (step->parts_ns[i] > step->parts_ns[most])
			most = i;
	return most;
}
