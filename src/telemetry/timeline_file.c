/* SPDX-License-Identifier: MIT */
/* Timelines as a Chrome trace (JSON), which chrome://tracing and Perfetto draw. */
#include "telemetry/timeline_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/replace.h"
#include "base/status.h"

#define LANES_MAX 64u /* rows of one track */
#define DEPTH_MAX 8u  /* spans in each other on a row */
#define ROUNDING_NS 1000u

struct timeline_file {
	FILE *to;
	replacement replaced;
	bool lost; /* a timeline, or a part of one */
	long tail; /* where the next event goes; what follows closes the trace */
	uint32_t processes;
	uint64_t zero_ns, dropped;
};

/* One row of a track: the ends of the spans that are open at the place that drawing has reached. */
typedef struct lane {
	uint32_t depth;
	uint64_t ends[DEPTH_MAX];
} lane;

static ufm_status fail(const timeline_file *f, const char *what)
{
	return status_fail(UFM_EFILE, "%s: cannot be %s: %s", f->replaced.asked, what, strerror(errno));
}

/* Ends the trace, and remembers where to go on. */
static ufm_status write_tail(timeline_file *f)
{
	f->tail = ftell(f->to);
	fprintf(f->to,
	        "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{\"clock\":\"CLOCK_MONOTONIC\","
	        "\"zero_ns\":%" PRIu64 ",\"dropped\":%" PRIu64 "}}\n",
	        f->zero_ns, f->dropped);
	return fflush(f->to) != 0 || ferror(f->to) ? fail(f, "written") : UFM_OK;
}

static ufm_status start(timeline_file *f)
{
	f->to = replacement_stream(&f->replaced);
	if (!f->to)
		return fail(f, "created");
	fputs("{\"traceEvents\":[", f->to);
	return write_tail(f);
}

/* As if it had never been opened. */
static void abandon(timeline_file *f)
{
	if (f->to)
		fclose(f->to);
	replacement_abandon(&f->replaced);
	alloc_free(f);
}

ufm_status timeline_file_open(const char *path, timeline_file **out)
{
	timeline_file *f = alloc_zeroed(1, sizeof *f);
	if (!f)
		return UFM_ENOMEM;
	ufm_status status = replacement_open(path, &f->replaced);
	if (status) {
		alloc_free(f);
		return status;
	}
	status = start(f);
	if (status)
		abandon(f);
	else
		*out = f;
	return status;
}

const char *timeline_file_unfinished(const timeline_file *f)
{
	return f->replaced.temporary;
}

/* ---- rows */

static uint64_t end_of(const timeline_span *s)
{
	return s->end_ns > s->begin_ns ? s->end_ns : s->begin_ns;
}

/* By track, then by begin; of those that begin together the longest first, which may hold the others. */
static int compare(const void *left, const void *right)
{
	const timeline_span *a = left, *b = right;
	timeline_track at = timeline_track_of(a->kind), bt = timeline_track_of(b->kind);
	if (at != bt)
		return at < bt ? -1 : 1;
	if (a->begin_ns != b->begin_ns)
		return a->begin_ns < b->begin_ns ? -1 : 1;
	return end_of(a) == end_of(b) ? 0 : end_of(a) > end_of(b) ? -1 : 1;
}

static bool lane_takes(lane *l, timeline_span *s)
{
	uint64_t begin_ns = s->begin_ns, end_ns = end_of(s);
	while (l->depth && l->ends[l->depth - 1] <= begin_ns)
		l->depth--;
	uint32_t depth = l->depth;
	if (depth && l->ends[depth - 1] < end_ns && l->ends[depth - 1] - begin_ns < ROUNDING_NS)
		begin_ns = l->ends[--depth];
	if (depth == DEPTH_MAX || (depth && l->ends[depth - 1] < end_ns))
		return false;
	s->begin_ns = begin_ns;
	l->ends[depth] = end_ns;
	l->depth = depth + 1;
	return true;
}

/* The last row takes what finds no other. */
static uint32_t choose_lane(lane *lanes, timeline_span *s)
{
	uint32_t i = 0;
	while (i + 1 < LANES_MAX && !lane_takes(&lanes[i], s))
		i++;
	return i;
}

/* ---- events */

/* In integers, because a locale may print a comma for the point. */
static void put_us(FILE *to, const char *key, uint64_t ns)
{
	fprintf(to, ",\"%s\":%" PRIu64 ".%03" PRIu64, key, ns / 1000, ns % 1000);
}

static void put_arg(FILE *to, const char **comma, const char *key, uint64_t value)
{
	fprintf(to, "%s\"%s\":%" PRIu64, *comma, key, value);
	*comma = ",";
}

static void put_args(FILE *to, const timeline_span *s)
{
	const char *comma = "";
	uint64_t spent_ns = s->end_ns - s->begin_ns;
	fputs(",\"args\":{", to);
	if (s->layer != TIMELINE_NONE)
		put_arg(to, &comma, s->kind == TIMELINE_STEP ? "step" : "layer", s->layer);
	if (s->expert != TIMELINE_NONE)
		put_arg(to, &comma, "expert", s->expert);
	if (s->experts)
		put_arg(to, &comma, "experts", s->experts);
	if (s->tokens)
		put_arg(to, &comma, "tokens", s->tokens);
	if (s->bytes)
		put_arg(to, &comma, "bytes", s->bytes);
	if (s->bytes && spent_ns) {
		uint64_t mbps = (uint64_t)((double)s->bytes * 1e3 / (double)spent_ns);
		fprintf(to, "%s\"gbps\":%" PRIu64 ".%03" PRIu64, comma, mbps / 1000, mbps % 1000);
	}
	fputs("}}", to);
}

static const char *separator(const timeline_file *f)
{
	return f->processes > 1 || ftell(f->to) > f->tail ? ",\n" : "\n";
}

static void put_name(timeline_file *f, const char *event, uint32_t tid, const char *name)
{
	fprintf(f->to,
	        "%s{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":\"%s\"}}",
	        separator(f), event, f->processes, tid, name);
}

static uint32_t thread_of(timeline_track track, uint32_t row)
{
	return (uint32_t)track * LANES_MAX + row + 1;
}

static void name_row(timeline_file *f, timeline_track track, uint32_t row)
{
	char name[32];
	uint32_t tid = thread_of(track, row);
	if (row)
		snprintf(name, sizeof name, "%s %u", timeline_track_name(track), row + 1);
	else
		snprintf(name, sizeof name, "%s", timeline_track_name(track));
	put_name(f, "thread_name", tid, name);
	fprintf(f->to,
	        ",\n{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%u,\"tid\":%u,"
	        "\"args\":{\"sort_index\":%u}}",
	        f->processes, tid, tid);
}

static void put_span(timeline_file *f, const timeline_span *s, uint32_t row)
{
	uint64_t zero_ns = f->zero_ns;
	fprintf(f->to, ",\n{\"ph\":\"X\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u",
	        timeline_kind_name(s->kind), f->processes, thread_of(timeline_track_of(s->kind), row));
	put_us(f->to, "ts", s->begin_ns > zero_ns ? s->begin_ns - zero_ns : 0);
	put_us(f->to, "dur", s->end_ns - s->begin_ns);
	put_args(f->to, s);
}

static void put_spans(timeline_file *f, timeline_span *spans, uint32_t count, lane *lanes)
{
	timeline_track track = TRACK_COUNT;
	uint32_t named = 0;
	for (uint32_t i = 0; i < count; i++) {
		timeline_span *s = &spans[i];
		if (track != timeline_track_of(s->kind)) {
			track = timeline_track_of(s->kind);
			memset(lanes, 0, LANES_MAX * sizeof *lanes);
			named = 0;
		}
		uint32_t row = choose_lane(lanes, s);
		s->end_ns = end_of(s);
		while (named <= row)
			name_row(f, track, named++);
		put_span(f, s, row);
	}
}

ufm_status timeline_file_add(timeline_file *f, timeline *t, const char *name)
{
	timeline_span *spans;
	uint32_t count;
	lane *lanes = alloc_zeroed(LANES_MAX, sizeof *lanes);
	ufm_status status = lanes ? timeline_copy(t, &spans, &count) : UFM_ENOMEM;
	if (status != UFM_OK)
		goto free_lanes;
	if (fseek(f->to, f->tail, SEEK_SET) != 0) {
		status = fail(f, "continued");
		goto free_spans;
	}
	f->processes++;
	f->dropped += timeline_dropped(t);
	if (f->processes == 1)
		f->zero_ns = timeline_opened_ns(t);
	qsort(spans, count, sizeof *spans, compare);
	put_name(f, "process_name", 0, name);
	put_spans(f, spans, count, lanes);
	status = write_tail(f);
free_spans:
	alloc_free(spans);
free_lanes:
	alloc_free(lanes);
	f->lost = f->lost || status != UFM_OK;
	return status;
}

ufm_status timeline_file_close(timeline_file *f)
{
	ufm_status status = UFM_OK;
	if (!f)
		return UFM_OK;
	bool closed = fclose(f->to) == 0;
	if (!closed && !f->lost)
		status = fail(f, "written");
	if (closed && !f->lost)
		status = replacement_commit(&f->replaced);
	else
		replacement_abandon(&f->replaced);
	alloc_free(f);
	return status;
}
