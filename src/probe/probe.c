/* SPDX-License-Identifier: MIT */
/* One rate after the other. */
#include "probe/probe.h"

#include "base/clock.h"
#include "base/median.h"
#include "probe/probe_int.h"
#include "probe/team.h"

#define PARTS 7u /* of the time for what the CPU does; an odd number */

/* ---- the CPU, alone and beside the link */

static bool until_time(void *ctx)
{
	const uint64_t *until_ns = ctx;
	return clock_now_ns() < *until_ns;
}

/* What is measured in one go others may disturb: the median of several counts. */
static double cpu_alone(const probe_subject *s, probe_team *team, probe_work work)
{
	double gbps[PARTS];
	for (uint32_t i = 0; i < PARTS; i++) {
		uint64_t until_ns = clock_now_ns() + s->budget_ns / PARTS;
		gbps[i] = probe_team_run(team, work, until_time, &until_ns);
	}
	return median_of(gbps, PARTS);
}

static double read_until(void *ctx, probe_more more, void *more_ctx)
{
	return probe_team_run(ctx, PROBE_READ, more, more_ctx);
}

static double multiply_until(void *ctx, probe_more more, void *more_ctx)
{
	return probe_team_run(ctx, PROBE_PRODUCT, more, more_ctx);
}

static ufm_status probe_team_rates(probe_subject *s, probe_team *team, probe_rates *out)
{
	probe_both both = {0};
	double read_gbps = cpu_alone(s, team, PROBE_READ);
	double product_gbps = cpu_alone(s, team, PROBE_PRODUCT);
	probe_cpu cpu = {.work = read_gbps > product_gbps ? read_until : multiply_until, .ctx = team};
	out->dram_gbps = read_gbps > product_gbps ? read_gbps : product_gbps;
	ufm_status status =
		probe_link_beside(&s->link, &cpu, s->budget_ns, PARTS, out->link_gbps, &both);
	out->sum_link_gbps = both.link_gbps;
	out->sum_cpu_gbps = both.cpu_gbps;
	return status;
}

static ufm_status probe_cpu_rates(probe_subject *s, probe_rates *out)
{
	probe_team *team;
	out->threads = probe_team_threads();
	ufm_status status = probe_team_open(&s->blocks, out->threads, &team);
	if (status)
		return status;
	status = probe_team_rates(s, team, out);
	probe_team_close(team);
	return status;
}

/* ---- all of it */

ufm_status probe_all(probe_subject *s, probe_rates *out)
{
	probe_rates rates = {0};
	ufm_status status = probe_link_alone(&s->link, s->budget_ns, &rates.link_gbps);
	if (!status)
		status = probe_memory(s, &rates.hbm_gbps);
	if (!status)
		status = probe_arithmetic(s, &rates.gflops);
	if (!status)
		status = probe_cpu_rates(s, &rates);
	ufm_status ended = s->link.timed.b->stream_sync(s->link.timed.stream);
	if (status || ended)
		return status ? status : ended;
	*out = rates;
	return UFM_OK;
}
