/* SPDX-License-Identifier: MIT */
/* Reads telemetry_MODE_EXPERTS.csv, of which a killed run may have left a part. */
#include "cli/plot/telemetry.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cli/lines.h"

#define FIGURE_MAX 1e12 /* seconds and GiB, far above any */

enum { T, DEVICE, PROCESS, WANTED };
static const char *const names[WANTED] = {"t", "gpu_alloc_gb", "proc_ram_gb"};

typedef struct reader {
	const char *path;
	int column[WANTED]; /* -1: not there */
	unsigned left_out, first_left_out;
	size_t room;
	plot_telemetry read;
} reader;

static bool find_columns(reader *r, char *header)
{
	char *rest = header, *name;
	for (int j = 0; j < WANTED; j++)
		r->column[j] = -1;
	for (int i = 0; (name = strsep(&rest, ",\r\n")); i++)
		for (int j = 0; j < WANTED; j++)
			if (strcmp(name, names[j]) == 0)
				r->column[j] = i;
	return r->column[T] >= 0 && r->column[DEVICE] >= 0 && r->column[PROCESS] >= 0;
}

static bool read_figure(const char *text, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return end != text && *end == '\0' && *out >= 0 && *out <= FIGURE_MAX;
}

static bool read_sample(const reader *r, char *line, plot_sample *out)
{
	double found[WANTED];
	int seen = 0;
	char *rest = line, *text;
	for (int i = 0; (text = strsep(&rest, ",\r\n")); i++)
		for (int j = 0; j < WANTED; j++)
			if (r->column[j] == i)
				seen += read_figure(text, &found[j]);
	if (seen != WANTED)
		return false;
	*out =
		(plot_sample){.t_s = found[T], .device_gib = found[DEVICE], .process_gib = found[PROCESS]};
	return true;
}

static ufm_status keep(reader *r, const plot_sample *sample)
{
	if (r->read.count == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		plot_sample *larger = alloc_zeroed(room, sizeof *larger);
		if (!larger)
			return UFM_ENOMEM;
		if (r->read.count)
			memcpy(larger, r->read.samples, r->read.count * sizeof *larger);
		alloc_free(r->read.samples);
		r->read.samples = larger;
		r->room = room;
	}
	r->read.samples[r->read.count++] = *sample;
	return UFM_OK;
}

/* A line without its end was cut, even where what is left of it reads like a sample. */
static ufm_status take_line(reader *r, const lines *from)
{
	bool header = from->number == 1;
	plot_sample sample;
	if (header ? find_columns(r, from->line) : from->whole && read_sample(r, from->line, &sample))
		return header ? UFM_OK : keep(r, &sample);
	if (r->left_out++ == 0)
		r->first_left_out = from->number;
	return UFM_OK;
}

static ufm_status read_lines(reader *r)
{
	bool more = true;
	lines from;
	ufm_status status = lines_open(r->path, &from);
	if (status)
		return status;
	while (!status && more) {
		status = lines_next(&from, &more);
		if (!status && more)
			status = take_line(r, &from);
	}
	lines_close(&from);
	return status;
}

static void warn(const reader *r)
{
	if (r->left_out)
		log_warn(
			"%s: line %u: expected figures for t, gpu_alloc_gb and proc_ram_gb; %u line%s left out",
			r->path, r->first_left_out, r->left_out, r->left_out == 1 ? " is" : "s are");
}

ufm_status plot_telemetry_read(const char *path, plot_telemetry *out)
{
	reader r = {.path = path};
	ufm_status status = UFM_OK;
	*out = (plot_telemetry){.count = 0};
	if (access(path, F_OK) != 0 && errno == ENOENT)
		return UFM_OK;
	status = read_lines(&r);
	warn(&r);
	*out = r.read;
	if (status)
		plot_telemetry_free(out);
	return status;
}

void plot_telemetry_free(plot_telemetry *telemetry)
{
	alloc_free(telemetry->samples);
	*telemetry = (plot_telemetry){.count = 0};
}
