/* SPDX-License-Identifier: MIT */
/* Formats notes and warnings and hands them to the process-wide sink. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <ufm/ufm.h>

#define LOG_LINE_BYTES 1024

static void log_to_stderr(void *ctx, ufm_log_level level, const char *line)
{
	(void)ctx;
	if (level == UFM_LOG_WARN)
		fprintf(stderr, "ufm: warning: %s\n", line);
}

/* Guards sink; a plain mutex because a line may be logged under a lock of any rank. */
static pthread_mutex_t sink_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
	ufm_log_fn fn;
	void *ctx;
} sink = {log_to_stderr, NULL};

void ufm_set_log(ufm_log_fn fn, void *ctx)
{
	pthread_mutex_lock(&sink_mutex);
	sink.fn = fn;
	sink.ctx = ctx;
	pthread_mutex_unlock(&sink_mutex);
}

/* The sink is called outside the mutex, so that it may itself call the library. */
static void log_line(ufm_log_level level, const char *format, va_list args)
{
	char line[LOG_LINE_BYTES];

	pthread_mutex_lock(&sink_mutex);
	ufm_log_fn fn = sink.fn;
	void *ctx = sink.ctx;
	pthread_mutex_unlock(&sink_mutex);
	if (!fn)
		return;
	vsnprintf(line, sizeof line, format, args);
	fn(ctx, level, line);
}

void log_info(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_line(UFM_LOG_INFO, format, args);
	va_end(args);
}

void log_warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_line(UFM_LOG_WARN, format, args);
	va_end(args);
}
