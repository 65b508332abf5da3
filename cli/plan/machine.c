/* SPDX-License-Identifier: MIT */
/* A machine from numbers given, from rows of earlier runs, and from probes. */
#include "cli/plan/machine.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "base/status.h"
#include "cli/interrupt.h"
#include "cli/json_field.h"
#include "cli/machine.h"
#include "cli/message.h"
#include "cli/modes/filling.h"
#include "cli/modes/options.h"
#include "cli/plan/row_file.h"
#include "cli/row_fields.h"
#include "device/registry.h"
#include "plan/probed.h"

static void say(told_machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(told_machine *m, const char *format, ...)
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

static void override(const machine_given *g, told_machine *m)
{
	/* What was measured together says nothing of another link or memory. */
	if (g->link_gbps > 0 || g->dram_gbps > 0)
		m->plan.rates.sum_link_gbps = m->plan.rates.sum_cpu_gbps = 0;
	take(g->link_gbps, &m->plan.rates.link_gbps);
	take(g->hbm_gbps, &m->plan.rates.hbm_gbps);
	take(g->dram_gbps, &m->plan.rates.dram_gbps);
	take(g->gflops, &m->plan.rates.peak_gflops);
	take(g->disk_gbps, &m->disk_gbps);
	if (g->cores)
		m->plan.rates.cpu_threads = g->cores > 1 ? g->cores - 1 : 0;
	m->ram_given = g->ram_bytes != 0;
	if (g->ram_bytes)
		m->ram_bytes = g->ram_bytes;
}

/* The last sentence. */
static ufm_status finish(told_machine *m)
{
	ufm_status status = machine_finish(&m->plan);
	if (!status && m->plan.sum_assumed)
		say(m,
		    " Link and CPU together were not measured: %.1f and %.1f GB/s are assumed, low among "
		    "what was left of either on machines that were.",
		    m->plan.rates.sum_link_gbps, m->plan.rates.sum_cpu_gbps);
	return status;
}

static void describe_rates(told_machine *m)
{
	const timing_rates *r = &m->plan.rates;
	say(m, "link %.1f GB/s%s, device memory %.0f GB/s", r->link_gbps,
	    m->emulated_gbps > 0 ? " (emulated)" : "", r->hbm_gbps);
	if (r->dram_gbps > 0)
		say(m, ", host memory %.0f GB/s by %u threads", r->dram_gbps, r->cpu_threads);
	if (r->sum_link_gbps > 0)
		say(m, ", both together %.1f and %.1f GB/s", r->sum_link_gbps, r->sum_cpu_gbps);
	if (r->peak_gflops > 0)
		say(m, ", %.*f TFLOP/s", r->peak_gflops < 1e4 ? 2 : 0, r->peak_gflops / 1e3);
}

static void describe_missing(told_machine *m)
{
	if (!(m->plan.rates.peak_gflops > 0))
		say(m, " Without --gflops arithmetic is taken for free, which flatters a long prefill.");
}

static bool says_a_rate(const machine_given *g)
{
	return g->link_gbps > 0 || g->dram_gbps > 0 || g->hbm_gbps > 0 || g->gflops > 0 || g->cores;
}

static void describe(const machine_given *given, told_machine *m)
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

static void describe_given(const machine_given *g, told_machine *m)
{
	const card *c = g->card;
	if (c)
		say(m,
		    "%s by its data sheet (%u GiB, %.0f GB/s, %.1f GB/s each way to the host; backend %s), "
		    "less what no program reaches, and what was given: ",
		    c->name, c->memory_gib, c->memory_gbps, c->link_gbps, m->plan.backend);
	else
		say(m, "a machine as given (backend %s): ", m->plan.backend);
}

ufm_status machine_of_given(const machine_given *g, told_machine *out)
{
	told_machine m = {.plan.rates.cpu_threads = MACHINE_CORES_ASSUMED - 1};
	bool assumed = strcmp(g->backend, "auto") == 0;
	snprintf(m.plan.backend, sizeof m.plan.backend, "%s", assumed ? "cuda" : g->backend);
	override(g, &m);
	describe_given(g, &m);
	describe_rates(&m);
	say(&m, ".");
	if (!g->cores && m.plan.rates.dram_gbps > 0)
		say(&m, " %u cores are assumed.", MACHINE_CORES_ASSUMED);
	if (!(m.plan.rates.dram_gbps > 0))
		say(&m, " Without --dram-gbps the CPU's help is not planned.");
	describe_missing(&m);
	ufm_status status = finish(&m);
	if (!status)
		*out = m;
	return status;
}

/* ---- rows of earlier runs */

typedef struct rate_field {
	row_field_id field;
	size_t offset;
} rate_field;

#define RATE(field, member) \
	{ \
		ROW_##field, offsetof(timing_rates, member) \
	}
static const rate_field fields[] = {
	RATE(probe_link_gbps, link_gbps),       RATE(probe_hbm_gbps, hbm_gbps),
	RATE(probe_dram_gbps, dram_gbps),       RATE(probe_sum_link_gbps, sum_link_gbps),
	RATE(probe_sum_cpu_gbps, sum_cpu_gbps), RATE(probe_kernel_gflops, peak_gflops),
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
	row_field_id id = fields[field].field;
	if (id == ROW_probe_kernel_gflops && !json_object_get(row, ROW_NAME(probe_kernel_gflops)))
		id = ROW_probe_gflops;
	return row_number(row, &row_fields[id], out);
}

static ufm_status read_rates(const json_t *row, told_machine *m)
{
	ufm_status status = row_number(row, &row_fields[ROW_link_gbps_emulated], &m->emulated_gbps);
	for (size_t i = 0; i < FIELDS && !status; i++)
		status = rate_of(row, i, rate_at(&m->plan.rates, i));
	return status ? status
	              : row_u32(row, &row_fields[ROW_probe_threads], &m->plan.rates.cpu_threads);
}

ufm_status machine_of_row(const json_t *row, bool *known, told_machine *out)
{
	told_machine m = {.emulated_gbps = 0};
	ufm_status status = read_rates(row, &m);
	if (status)
		return status;
	/* An emulated link is what it was told to be; beside other work a probe of it measures how late it was woken. */
	if (m.emulated_gbps > 0)
		m.plan.rates.link_gbps = m.emulated_gbps;
	snprintf(m.plan.backend, sizeof m.plan.backend, "%s", field_string(row, ROW_NAME(backend)));
	*known = m.plan.rates.link_gbps > 0 && m.plan.rates.hbm_gbps > 0;
	if (!*known)
		return UFM_OK;
	say(&m, "%s", field_string(row, ROW_NAME(device)));
	*out = m;
	return UFM_OK;
}

/* Rates vary from one moment to the next: the median of those that are known. */
static ufm_status take_medians(const json_t *rows, told_machine *m)
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
			*rate_at(&m->plan.rates, f) = median_of(values, known);
	}
	alloc_free(values);
	return UFM_OK;
}

static ufm_status from_rows(const char *path, const row_file *file, told_machine *m)
{
	size_t i, probed = 0;
	json_t *row, *rows = file->rows;
	told_machine found;
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

ufm_status machine_of_file(const char *path, const machine_given *given, told_machine *out)
{
	row_file file;
	told_machine m;
	ufm_status status = row_file_read(path, &file);
	if (status)
		return status;
	status = from_rows(path, &file, &m);
	row_file_close(&file);
	if (status)
		return status;
	describe(given, &m);
	status = finish(&m);
	if (!status)
		*out = m;
	return status;
}

/* ---- this machine */

static ufm_status probe_here(const ufm_expert_desc *desc, uint32_t top_k,
                             const machine_given *given, const ufm_backend *b,
                             probe_machine_found *out)
{
	ufm_host_config watched;
	filling bar = {.what = "probing this machine"};
	UFM_STRUCT_INIT(&watched);
	filling_watch(&bar, &watched);
	const probe_machine_config config = {.desc = desc,
	                                     .top_k = top_k,
	                                     .backend = b->name,
	                                     .link_gbps = b == &cpu_backend ? given->link_gbps : 0,
	                                     .progress = watched.progress,
	                                     .progress_ctx = watched.progress_ctx,
	                                     .stop = watched.stop,
	                                     .stop_ctx = watched.stop_ctx};
	message_progress("%s", bar.what);
	ufm_status status = probe_machine(&config, out);
	message_progress_clear();
	return status;
}

static void name_here(const probe_machine_found *found, told_machine *m)
{
	char model[128];
	bool named = machine_read_key("/proc/cpuinfo", "model name", model, sizeof model);
	snprintf(m->words, sizeof m->words,
	         "this machine (%s%s%u cores), %s, probed now with blocks of that size",
	         named ? model : "", named ? ", " : "", found->cores, found->device);
}

ufm_status machine_of_here(const ufm_expert_desc *desc, uint32_t top_k, const machine_given *given,
                           told_machine *out)
{
	const ufm_backend *b;
	probe_machine_found found;
	machine_given said = *given;
	told_machine m = {.disk_gbps = 0};
	ufm_status status = mode_find_backend(given->backend, &b);
	if (!status)
		status = probe_here(desc, top_k, given, b, &found);
	if (status)
		return status;
	m.plan.rates = machine_rates_of_probe(&found.rates);
	m.emulated_gbps = found.emulated_gbps;
	m.ram_bytes = found.lockable_bytes;
	snprintf(m.plan.backend, sizeof m.plan.backend, "%s", found.backend);
	name_here(&found, &m);
	if (b == &cpu_backend)
		said.link_gbps = 0; /* a link that was emulated was probed as such */
	describe(&said, &m);
	status = finish(&m);
	if (!status)
		*out = m;
	return status;
}
