/* SPDX-License-Identifier: MIT */
/* A machine from numbers given and from rows of earlier runs. */
#include "cli/plan/machine.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "base/status.h"
#include "cli/json_field.h"
#include "cli/plan/row_file.h"
#include "cli/row_field.h"

/* What is assumed of a device that is not there, in this one place: memory is mapped by the granule that the CUDA
 * plugin gets from every driver so far, or that the cpu backend has; hidden rows are f32 on both. */
#define CUDA_GRANULE_BYTES ((uint64_t)2 << 20)
#define CPU_GRANULE_BYTES ((uint64_t)64 << 10)
#define CORES_ASSUMED 16u

/* Of rows, as of the options. */
#define RATE_MAX 1e9
#define THREADS_MAX 4096u

uint64_t machine_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows)
{
	return (uint64_t)rows * desc->d_hidden * sizeof(float);
}

static void say(plan_machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(plan_machine *m, const char *format, ...)
{
	size_t used = strlen(m->words);
	va_list args;
	va_start(args, format);
	vsnprintf(m->words + used, sizeof m->words - used, format, args);
	va_end(args);
}

/* ---- what every machine needs in the end */

static void take(double given, double *rate)
{
	if (given > 0)
		*rate = given;
}

static void override(const machine_given *g, plan_machine *m)
{
	/* What was measured together says nothing of another link or memory. */
	if (g->link_gbps > 0 || g->dram_gbps > 0)
		m->rates.sum_link_gbps = m->rates.sum_cpu_gbps = 0;
	take(g->link_gbps, &m->rates.link_gbps);
	take(g->hbm_gbps, &m->rates.hbm_gbps);
	take(g->dram_gbps, &m->rates.dram_gbps);
	take(g->gflops, &m->rates.peak_gflops);
	take(g->disk_gbps, &m->disk_gbps);
	if (g->cores)
		m->rates.cpu_threads = g->cores > 1 ? g->cores - 1 : 0;
	m->ram_given = g->ram_bytes != 0;
	if (g->ram_bytes)
		m->ram_bytes = g->ram_bytes;
}

/* Both read the host's memory, so their sum is less than the two alone. */
static void derive_sum(plan_machine *m, const timing_costs *costs)
{
	timing_rates *r = &m->rates;
	if (r->sum_link_gbps > 0 || !(r->dram_gbps > 0))
		return;
	r->sum_link_gbps = costs->sum_link * r->link_gbps;
	r->sum_cpu_gbps = costs->sum_cpu * r->dram_gbps;
	say(m,
	    " Link and CPU together were not measured: %.1f and %.1f GB/s are assumed, low among what "
	    "was left of either on machines that were.",
	    r->sum_link_gbps, r->sum_cpu_gbps);
}

ufm_status machine_finish(plan_machine *m)
{
	const timing_costs *costs = timing_costs_of(m->backend);
	if (!costs)
		return status_fail(UFM_EBACKEND,
		                   "backend %s: its costs were never measured, expected cuda or cpu",
		                   m->backend);
	m->granularity_bytes = strcmp(m->backend, "cpu") == 0 ? CPU_GRANULE_BYTES : CUDA_GRANULE_BYTES;
	derive_sum(m, costs);
	return UFM_OK;
}

static void describe_rates(plan_machine *m)
{
	const timing_rates *r = &m->rates;
	say(m, "link %.1f GB/s%s, device memory %.0f GB/s", r->link_gbps,
	    m->emulated_gbps > 0 ? " (emulated)" : "", r->hbm_gbps);
	if (r->dram_gbps > 0)
		say(m, ", host memory %.0f GB/s by %u threads", r->dram_gbps, r->cpu_threads);
	if (r->sum_link_gbps > 0)
		say(m, ", both together %.1f and %.1f GB/s", r->sum_link_gbps, r->sum_cpu_gbps);
	if (r->peak_gflops > 0)
		say(m, ", %.*f TFLOP/s", r->peak_gflops < 1e4 ? 2 : 0, r->peak_gflops / 1e3);
}

static void describe_missing(plan_machine *m)
{
	if (!(m->rates.peak_gflops > 0))
		say(m, " Without --gflops arithmetic is taken for free, which flatters a long prefill.");
}

static bool says_a_rate(const machine_given *g)
{
	return g->link_gbps > 0 || g->dram_gbps > 0 || g->hbm_gbps > 0 || g->gflops > 0 || g->cores;
}

void machine_describe(const machine_given *given, plan_machine *m)
{
	if (given->link_gbps > 0)
		m->emulated_gbps = 0;
	override(given, m);
	say(m, "%s", says_a_rate(given) ? ", but for what was given: " : ": ");
	describe_rates(m);
	say(m, ".");
	describe_missing(m);
}

/* ---- given */

bool machine_is_given(const machine_given *g)
{
	return g->link_gbps > 0 && g->hbm_gbps > 0;
}

static void describe_given(const machine_given *g, plan_machine *m)
{
	const card *c = g->card;
	if (c)
		say(m,
		    "%s by its data sheet (%u GiB, %.0f GB/s, %.1f GB/s each way to the host; backend %s), "
		    "less what no program reaches, and what was given: ",
		    c->name, c->memory_gib, c->memory_gbps, c->link_gbps, m->backend);
	else
		say(m, "a machine as given (backend %s): ", m->backend);
}

ufm_status machine_of_given(const machine_given *g, plan_machine *out)
{
	plan_machine m = {.rates.cpu_threads = CORES_ASSUMED - 1};
	bool assumed = strcmp(g->backend, "auto") == 0;
	snprintf(m.backend, sizeof m.backend, "%s", assumed ? "cuda" : g->backend);
	override(g, &m);
	describe_given(g, &m);
	describe_rates(&m);
	say(&m, ".");
	if (!g->cores && m.rates.dram_gbps > 0)
		say(&m, " %u cores are assumed.", CORES_ASSUMED);
	if (!(m.rates.dram_gbps > 0))
		say(&m, " Without --dram-gbps the CPU's help is not planned.");
	describe_missing(&m);
	ufm_status status = machine_finish(&m);
	if (!status)
		*out = m;
	return status;
}

/* ---- rows of earlier runs */

typedef struct rate_field {
	const char *name;
	size_t offset;
} rate_field;

#define RATE(field, member) \
	{ \
		field, offsetof(timing_rates, member) \
	}
#define OWN_GFLOPS "probe_kernel_gflops"
static const rate_field fields[] = {
	RATE("probe_link_gbps", link_gbps),       RATE("probe_hbm_gbps", hbm_gbps),
	RATE("probe_dram_gbps", dram_gbps),       RATE("probe_sum_link_gbps", sum_link_gbps),
	RATE("probe_sum_cpu_gbps", sum_cpu_gbps), RATE(OWN_GFLOPS, peak_gflops),
};
#define LINK_FIELD 0u
#define FIELDS (sizeof fields / sizeof fields[0])

static double *rate_at(timing_rates *rates, size_t field)
{
	return (double *)(void *)((char *)rates + fields[field].offset);
}

/* A plan counts what our own products do. Rows of before the vendor's were asked have it under that name. */
static ufm_status rate_of(const json_t *row, size_t field, double *out)
{
	const char *name = fields[field].name;
	if (strcmp(name, OWN_GFLOPS) == 0 && !json_object_get(row, name))
		name = "probe_gflops";
	return row_number(row, name, 0, RATE_MAX, out);
}

static ufm_status read_rates(const json_t *row, plan_machine *m)
{
	ufm_status status = row_number(row, "link_gbps_emulated", 0, RATE_MAX, &m->emulated_gbps);
	for (size_t i = 0; i < FIELDS && !status; i++)
		status = rate_of(row, i, rate_at(&m->rates, i));
	return status ? status : row_u32(row, "probe_threads", 0, THREADS_MAX, &m->rates.cpu_threads);
}

ufm_status machine_of_row(const json_t *row, bool *known, plan_machine *out)
{
	plan_machine m = {.emulated_gbps = 0};
	ufm_status status = read_rates(row, &m);
	if (status)
		return status;
	/* An emulated link is what it was told to be; beside other work a probe of it measures how late it was woken. */
	if (m.emulated_gbps > 0)
		m.rates.link_gbps = m.emulated_gbps;
	snprintf(m.backend, sizeof m.backend, "%s", field_string(row, "backend"));
	*known = m.rates.link_gbps > 0 && m.rates.hbm_gbps > 0;
	if (!*known)
		return UFM_OK;
	say(&m, "%s", field_string(row, "device"));
	*out = m;
	return UFM_OK;
}

/* Rates vary from one moment to the next: the median of those that are known. */
static ufm_status take_medians(const json_t *rows, plan_machine *m)
{
	size_t count = json_array_size(rows);
	double *values = alloc_zeroed(count ? count : 1, sizeof *values);
	if (!values)
		return UFM_ENOMEM;
	for (size_t f = 0; f < FIELDS; f++) {
		uint32_t known = 0;
		for (size_t i = 0; i < count; i++) {
			double value;
			if (rate_of(json_array_get(rows, i), f, &value) == UFM_OK && value > 0)
				values[known++] = value;
		}
		if (known && (f != LINK_FIELD || !(m->emulated_gbps > 0)))
			*rate_at(&m->rates, f) = median_of(values, known);
	}
	alloc_free(values);
	return UFM_OK;
}

static ufm_status from_rows(const char *path, const row_file *file, plan_machine *m)
{
	size_t i, probed = 0;
	json_t *row, *rows = file->rows;
	plan_machine found;
	char place[ROW_PLACE_BYTES];
	json_array_foreach(rows, i, row)
	{
		bool known;
		ufm_status status = machine_of_row(row, &known, &found);
		if (status)
			return status_prefix(status, "%s: %s", path, row_file_place(file, i, place));
		if (known && probed++ == 0)
			*m = found;
	}
	if (!probed)
		return status_fail(
			UFM_EFORMAT,
			"%s: no row has probe_link_gbps and probe_hbm_gbps, expected rows of ufm "
			"bench --probe on",
			path);
	ufm_status status = take_medians(rows, m);
	if (status)
		return status;
	say(m, " as %zu row%s of %s probed it", probed, probed == 1 ? "" : "s", path);
	return UFM_OK;
}

ufm_status machine_of_file(const char *path, const machine_given *given, plan_machine *out)
{
	row_file file;
	plan_machine m;
	ufm_status status = row_file_read(path, &file);
	if (status)
		return status;
	status = from_rows(path, &file, &m);
	row_file_close(&file);
	if (status)
		return status;
	machine_describe(given, &m);
	status = machine_finish(&m);
	if (!status)
		*out = m;
	return status;
}
