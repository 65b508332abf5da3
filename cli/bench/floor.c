/* SPDX-License-Identifier: MIT */
/* The larger of two floors, which overlap: what is read and computed, and what has to come. */
#include "cli/bench/floor.h"

#include <math.h>

#define NS_A_MS 1e6

const char *floor_bound_name(floor_bound bound)
{
	static const char *const names[] = {"hbm", "compute", "link", "cpu+link"};
	return names[bound];
}

const char *floor_kind_name(floor_kind kind)
{
	return kind == FLOOR_SWEEP ? "sweep" : "measured";
}

/* For a whole number of misses: k over the link, the others by the CPU. The longer of the two falls and
 * then rises with k, so the best k is next to where both take as long. */
static double split_whole(double misses, double link_each, double cpu_each)
{
	double even = floor(misses * cpu_each / (link_each + cpu_each));
	double next = fmin(even + 1, misses);
	return fmin(fmax(even * link_each, (misses - even) * cpu_each),
	            fmax(next * link_each, (misses - next) * cpu_each));
}

double floor_split(double misses, double link_each, double cpu_each)
{
	double below = floor(misses), part = misses - below;
	double time = split_whole(below, link_each, cpu_each);
	if (part > 0)
		time += part * (split_whole(below + 1, link_each, cpu_each) - time);
	return time;
}

static void resident_floor(const floor_demand *d, const floor_rates *r, step_floor *out)
{
	double bytes = d->layers * d->touched * (double)d->expert_bytes;
	double read_ms = bytes / r->hbm_gbps / NS_A_MS;
	double compute_ms = r->peak_gflops > 0 ? d->operations / r->peak_gflops / NS_A_MS : 0;
	out->resident_ms = fmax(read_ms, compute_ms);
	out->bound = compute_ms > read_ms ? FLOOR_COMPUTE : FLOOR_HBM;
}

static void choose_misses(const floor_demand *d, step_floor *out)
{
	bool all_fit = d->slots >= (uint64_t)d->layers * d->experts;
	bool sweep = d->layers == 1 && d->touched > d->slots;
	out->kind = all_fit || sweep ? FLOOR_SWEEP : FLOOR_MEASURED;
	out->misses = d->missed;
	if (all_fit)
		out->misses = 0;
	else if (sweep)
		out->misses = d->touched - d->slots;
}

/* What the CPU adds. A sweep misses so many that whole experts make no difference. */
static double shared_ns(const floor_demand *d, const floor_rates *r, const step_floor *f)
{
	double bytes = (double)d->expert_bytes;
	if (f->kind == FLOOR_SWEEP)
		return f->misses * bytes / (r->sum_link_gbps + r->sum_cpu_gbps);
	return floor_split(f->misses, bytes / r->sum_link_gbps, bytes / r->sum_cpu_gbps);
}

/* Gives what bounds it. */
static floor_bound miss_floor(const floor_demand *d, const floor_rates *r, step_floor *out)
{
	double link_ns = out->misses * (double)d->expert_bytes / r->link_gbps, ns = link_ns;
	if (d->cpu && r->sum_link_gbps > 0 && r->sum_cpu_gbps > 0)
		ns = fmin(ns, shared_ns(d, r, out));
	out->miss_ms = d->layers * ns / NS_A_MS;
	return ns < link_ns ? FLOOR_CPU_LINK : FLOOR_LINK;
}

bool floor_of_step(const floor_demand *d, const floor_rates *r, step_floor *out)
{
	if (!(r->hbm_gbps > 0) || !(r->link_gbps > 0) || !(d->touched > 0))
		return false;
	step_floor f = {0};
	resident_floor(d, r, &f);
	choose_misses(d, &f);
	floor_bound bound = miss_floor(d, r, &f);
	f.step_ms = fmax(f.resident_ms, f.miss_ms);
	if (f.miss_ms > f.resident_ms)
		f.bound = bound;
	*out = f;
	return true;
}
