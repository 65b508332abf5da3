/* SPDX-License-Identifier: MIT */
/* Samples memory and counters on a thread of its own, keeps the peaks, writes the rows. */
#include "telemetry/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/status.h"
#include "base/thread.h"

#define PERIOD_DEFAULT_NS (50u * 1000 * 1000)
#define NS_PER_MS 1000000u
/* Six figures and the counters, none longer than 24 characters. */
#define ROW_BYTES ((6 + COUNTER_COUNT) * 24)

struct sampler {
	char *csv_path;  /* NULL: peaks only */
	int csv_file;    /* -1: none */
	off_t csv_bytes; /* of whole rows */
	uint64_t period_ns, opened_ns;
	pthread_t thread;
	lock lock; /* guards what follows, and is held while a sample is taken and written */
	lock_cond stopped;
	bool stop;
	int write_errno; /* of the first row that failed; 0: none */
	sampler_probe probe;
	void *probe_ctx;
	sampler_peaks peaks;
	char row[ROW_BYTES];
};

/* 0, or why not all of it was written. */
static int write_all(int file, const char *at, size_t size_bytes)
{
	while (size_bytes) {
		ssize_t written = write(file, at, size_bytes);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written ? errno : ENOSPC;
		at += written;
		size_bytes -= (size_t)written;
	}
	return 0;
}

/* A part of a row would read as one. What keeps its length is no file, and nothing lies in it. */
static void write_row(sampler *s, size_t row_bytes)
{
	s->write_errno = write_all(s->csv_file, s->row, row_bytes);
	if (!s->write_errno)
		s->csv_bytes += (off_t)row_bytes;
	else if (ftruncate(s->csv_file, s->csv_bytes) != 0)
		return;
}

static void write_header(sampler *s)
{
	static const char header[] =
		"t,gpu_alloc_gb,gpu_reserved_gb,proc_ram_gb,sys_ram_gb,nvme_offload_gb"
#define COUNTER(name, unit, kind, help) "," #name
#include "telemetry/counters.def"
#undef COUNTER
		"\n";

	_Static_assert(sizeof header <= ROW_BYTES, "the column names fit a row");
	memcpy(s->row, header, sizeof header - 1);
	write_row(s, sizeof header - 1);
}

/* In integers, because a locale may print a comma for the point. */
static size_t put_gib(char *at, size_t room, uint64_t size_bytes)
{
	uint64_t millionths = (uint64_t)(((unsigned __int128)size_bytes * 1000000 + (1u << 29)) >> 30);

	return (size_t)snprintf(at, room, ",%" PRIu64 ".%06" PRIu64, millionths / 1000000,
	                        millionths % 1000000);
}

static size_t format_row(char *row, uint64_t elapsed_ns, const sampler_reading *r,
                         const limits_memory *host)
{
	const uint64_t sizes[] = {r->live_bytes, r->held_bytes, host->process_rss_bytes,
	                          host->system_used_bytes, r->disk_bytes};
	uint64_t ms = elapsed_ns / NS_PER_MS;
	size_t used = (size_t)snprintf(row, ROW_BYTES, "%" PRIu64 ".%03" PRIu64, ms / 1000, ms % 1000);

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		used += put_gib(row + used, ROW_BYTES - used, sizes[i]);
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		used += (size_t)snprintf(row + used, ROW_BYTES - used, ",%" PRIu64, r->counters[i]);
	row[used++] = '\n';
	return used;
}

static void raise_to(uint64_t *peak, uint64_t value)
{
	if (value > *peak)
		*peak = value;
}

/* With the lock held. */
static void take_sample(sampler *s)
{
	sampler_reading reading = {0};
	limits_memory host;

	if (s->probe)
		s->probe(s->probe_ctx, &reading);
	limits_read_memory(&host);
	raise_to(&s->peaks.live_bytes, reading.live_bytes);
	raise_to(&s->peaks.held_bytes, reading.held_bytes);
	raise_to(&s->peaks.process_rss_bytes, host.process_rss_bytes);
	if (s->csv_file >= 0 && !s->write_errno)
		write_row(s, format_row(s->row, clock_now_ns() - s->opened_ns, &reading, &host));
}

/* The next tick of the grid that began at open: a slow sample skips ticks and shifts none. */
static uint64_t next_tick_ns(const sampler *s)
{
	uint64_t passed = (clock_now_ns() - s->opened_ns) / s->period_ns;

	return s->opened_ns + (passed + 1) * s->period_ns;
}

static void *sampler_main(void *arg)
{
	sampler *s = arg;

	lock_take(&s->lock);
	while (!s->stop) {
		take_sample(s);
		uint64_t until_ns = next_tick_ns(s);
		while (!s->stop && lock_wait_until(&s->stopped, &s->lock, until_ns))
			;
	}
	lock_drop(&s->lock);
	return NULL;
}

static ufm_status fail_csv(const sampler *s, const char *what, int error)
{
	return status_fail(UFM_EFILE, "%s: %s: %s", s->csv_path, what, strerror(error));
}

static ufm_status open_csv(sampler *s, const char *path)
{
	s->csv_file = -1;
	if (!path)
		return UFM_OK;
	s->csv_path = alloc_string(path);
	if (!s->csv_path)
		return UFM_ENOMEM;
	s->csv_file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (s->csv_file < 0)
		return fail_csv(s, "cannot create", errno);
	write_header(s);
	return s->write_errno ? fail_csv(s, "cannot write", s->write_errno) : UFM_OK;
}

static ufm_status start_thread(sampler *s)
{
	int error = thread_start(&s->thread, sampler_main, s);
	if (error)
		return status_fail(UFM_ENOMEM, "sampler thread: %s", strerror(error));
	return UFM_OK;
}

static void free_sampler(sampler *s)
{
	lock_cond_destroy(&s->stopped);
	lock_destroy(&s->lock);
	if (s->csv_file >= 0)
		close(s->csv_file);
	alloc_free(s->csv_path);
	alloc_free(s);
}

ufm_status sampler_open(const sampler_config *config, sampler **out)
{
	sampler *s = alloc_zeroed(1, sizeof *s);

	if (!s)
		return UFM_ENOMEM;
	lock_init(&s->lock, LOCK_RANK_SAMPLER, "sampler");
	lock_cond_init(&s->stopped);
	s->period_ns = config->period_ns ? config->period_ns : PERIOD_DEFAULT_NS;
	s->opened_ns = clock_now_ns();
	ufm_status status = open_csv(s, config->csv_path);
	if (status == UFM_OK)
		status = start_thread(s);
	if (status != UFM_OK) {
		free_sampler(s);
		return status;
	}
	*out = s;
	return UFM_OK;
}

void sampler_attach(sampler *s, sampler_probe probe, void *ctx)
{
	lock_take(&s->lock);
	s->probe = probe;
	s->probe_ctx = ctx;
	lock_drop(&s->lock);
}

void sampler_sample(sampler *s)
{
	lock_take(&s->lock);
	take_sample(s);
	lock_drop(&s->lock);
}

static void stop_thread(sampler *s)
{
	lock_take(&s->lock);
	s->stop = true;
	lock_wake_all(&s->stopped);
	lock_drop(&s->lock);
	pthread_join(s->thread, NULL);
}

ufm_status sampler_close(sampler *s, sampler_peaks *peaks)
{
	ufm_status status = UFM_OK;

	if (!s)
		return UFM_OK;
	stop_thread(s);
	sampler_sample(s);
	if (peaks)
		*peaks = s->peaks;
	if (s->csv_file >= 0 && close(s->csv_file) != 0 && !s->write_errno)
		s->write_errno = errno;
	s->csv_file = -1;
	if (s->write_errno)
		status = fail_csv(s, "cannot write", s->write_errno);
	free_sampler(s);
	return status;
}
