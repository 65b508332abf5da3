/* SPDX-License-Identifier: MIT */
/* Looks at short calls, with the CPU and without: some steps each, timed as a whole. */
#include <math.h>

#include "base/clock.h"
#include "pager/pager_int.h"

/* Steps of a look, after one that is not counted, because it is served by what the other way left. Where little
 * is missed a look goes on, for misses are what it is about; where much is, a step says enough, and so it does where
 * this way is much dearer than the other. */
#define LOOK_STEPS 8u
#define LOOK_STEPS_MAX 64u
#define LOOK_MISSES 32u
#define LOOK_MISSES_MAX 256u

double looks_link_ns(const ufm_engine *e, double misses)
{
	double copy_ns = (double)e->loads.copy_ns, gbps = e->rates.link_alone_gbps;
	if (gbps > 0)
		copy_ns = fmin(copy_ns, (double)e->desc.expert_bytes / gbps);
	return misses * copy_ns;
}

static bool is_complete(const ufm_engine *e, const pager_look *look, uint32_t size)
{
	const pager_cpu *cpu = &e->cpu;
	double steps = look->sum.calls / e->layers, misses = look->sum.misses;
	if (steps < 1)
		return false;
	if (misses >= LOOK_MISSES_MAX || steps >= LOOK_STEPS_MAX ||
	    choice_is_dear(&cpu->choice, size, look->with_cpu, &look->sum, (double)cpu->call_ns))
		return true;
	return steps >= LOOK_STEPS && misses >= LOOK_MISSES;
}

static void begin_look(ufm_engine *e, pager_look *look, uint32_t size)
{
	*look =
		(pager_look){.open = true, .with_cpu = choice_ask(&e->cpu.choice, size), .lead = e->layers};
}

static void end_look(ufm_engine *e, pager_look *look, uint32_t size)
{
	double call_ns = (double)e->cpu.call_ns;
	if (look->sum.misses > 0 &&
	    choice_learn(&e->cpu.choice, size, look->with_cpu, &look->sum, call_ns))
		chosen_changed(e, size);
	begin_look(e, look, size);
}

/* A call of the same size has taken so long, until this one. */
static void count_call(ufm_engine *e, pager_look *look, uint32_t size, uint64_t spent_ns)
{
	if (look->lead) {
		look->lead--;
		return;
	}
	look->sum.ns += (double)spent_ns;
	look->sum.calls++;
	look->sum.misses += e->cpu.missed;
	look->sum.floor_ns += looks_link_ns(e, e->cpu.missed);
	if (is_complete(e, look, size))
		end_look(e, look, size);
}

/* From when one call knows its misses to when the next does. */
void looks_time(ufm_engine *e, uint32_t size, uint32_t misses)
{
	pager_cpu *cpu = &e->cpu;
	uint64_t now_ns = clock_now_ns(), spent_ns = now_ns - cpu->called_ns;
	bool follows = cpu->called_ns && cpu->called_size == size && !owed_had_rest(&e->owed);
	if (follows && !choice_is_long(size)) {
		if (cpu->missed == 0)
			cpu->call_ns = cpu->call_ns ? (31 * cpu->call_ns + spent_ns) / 32 : spent_ns;
		if (cpu->looks[size].open)
			count_call(e, &cpu->looks[size], size, spent_ns);
	}
	cpu->called_ns = now_ns;
	cpu->called_size = size;
	cpu->missed = misses;
}

bool looks_ask(ufm_engine *e, uint32_t size)
{
	pager_look *look = &e->cpu.looks[size];
	if (!look->open)
		begin_look(e, look, size);
	return look->with_cpu;
}

void looks_pass_by(ufm_engine *e, uint32_t size)
{
	e->cpu.looks[size].open = false;
	e->cpu.called_ns = 0;
}

void looks_forget(ufm_engine *e)
{
	for (uint32_t i = 0; i < CHOICE_SIZES; i++)
		e->cpu.looks[i] = (pager_look){0};
}
