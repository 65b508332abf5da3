/* SPDX-License-Identifier: MIT */
/* Reads telemetry_MODE_EXPERTS.csv, of which a killed run may have left a part. */
#include "cli/plot/telemetry.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/status.h"

enum { T, DEVICE, PROCESS, WANTED };
static const char *const names[WANTED] = {"t", "gpu_alloc_gb", "proc_ram_gb"};

typedef struct reader {
	const char *path;
	int column[WANTED]; /* -1: not there */
	unsigned line, left_out, first_left_out;
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
	return end != text && *end == '\0' && isfinite(*out) && *out >= 0;
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
static ufm_status take_line(reader *r, char *line, size_t length)
{
	bool header = ++r->line == 1, whole = length && line[length - 1] == '\n';
	plot_sample sample;
	if (header ? find_columns(r, line) : whole && read_sample(r, line, &sample))
		return header ? UFM_OK : keep(r, &sample);
	if (r->left_out++ == 0)
		r->first_left_out = r->line;
	return UFM_OK;
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
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	ufm_status status = UFM_OK;
	FILE *from = fopen(path, "re");
	*out = (plot_telemetry){.count = 0};
	if (!from && errno == ENOENT)
		return UFM_OK;
	if (!from)
		return status_fail(UFM_EFILE, "%s: cannot open: %s", path, strerror(errno));
	while (!status && (length = getline(&line, &size, from)) != -1)
		status = take_line(&r, line, (size_t)length);
	if (!status && ferror(from))
		status = status_fail(UFM_EFILE, "%s: cannot read: %s", path, strerror(errno));
	free(line);
	fclose(from);
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
