/* SPDX-License-Identifier: MIT */
/* The progress bar of a host tier that is being filled, on the progress line of a terminal. */
#include "cli/modes/filling.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/interrupt.h"
#include "cli/message.h"

#define PERIOD_NS 100000000u
#define BAR_CELLS 20u
#define GIB 1073741824.0

void filling_line(const filling *f, uint64_t now_ns, uint64_t done_bytes, uint64_t total_bytes,
                  char line[FILLING_LINE_BYTES])
{
	double done = (double)done_bytes, total = (double)total_bytes;
	double spent_ns = (double)(now_ns - f->begin_ns);
	uint32_t cells = total_bytes ? (uint32_t)(done / total * BAR_CELLS) : BAR_CELLS;
	char bar[BAR_CELLS + 1] = {0};
	memset(bar, '#', cells);
	memset(bar + cells, '-', BAR_CELLS - cells);
	int used = snprintf(line, FILLING_LINE_BYTES, "%s [%s] %.1f of %.1f GiB", f->what, bar,
	                    done / GIB, total / GIB);
	if (done_bytes && spent_ns > 0)
		snprintf(line + used, FILLING_LINE_BYTES - (size_t)used, ", %.1f GB/s, %.0f s left",
		         done / spent_ns, (total - done) / done * spent_ns / 1e9);
}

/* Whoever fills waits for this: a line now and then. */
static void show(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	filling *f = ctx;
	uint64_t now_ns = clock_now_ns();
	char line[FILLING_LINE_BYTES];
	if (f->shown_ns && done_bytes < total_bytes && now_ns - f->shown_ns < PERIOD_NS)
		return;
	f->shown_ns = now_ns;
	filling_line(f, now_ns, done_bytes, total_bytes, line);
	message_progress("%s", line);
}

void filling_watch(filling *f, ufm_host_config *config)
{
	f->begin_ns = clock_now_ns();
	f->shown_ns = 0;
	config->progress = show;
	config->progress_ctx = f;
	config->stop = interrupt_stop;
}
