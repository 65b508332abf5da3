/* SPDX-License-Identifier: MIT */
/* A thread that writes one CSV line of memory and counters every period. */
#ifndef UFM_TELEMETRY_SAMPLER_H
#define UFM_TELEMETRY_SAMPLER_H

#include <stdint.h>
#include <ufm/ufm.h>

#include "telemetry/counters.h"

typedef struct sampler sampler;

typedef struct sampler_config {
	const char *csv_path; /* created or truncated; NULL: peaks only */
	uint64_t period_ns;   /* 0: 50 ms */
} sampler_config;

/* What a probe fills in, zeroed before. It is called on the sampler's thread and on those that call
 * sampler_sample and sampler_close, one at a time; it may take an engine's locks. Host memory is
 * read by the sampler itself. */
typedef struct sampler_reading {
	uint64_t live_bytes; /* device memory in use */
	uint64_t held_bytes; /* device memory taken from the driver */
	uint64_t disk_bytes; /* blocks offloaded to disk */
	uint64_t counters[COUNTER_COUNT];
} sampler_reading;
typedef void (*sampler_probe)(void *ctx, sampler_reading *reading);

typedef struct sampler_peaks {
	uint64_t held_bytes, live_bytes, process_rss_bytes; /* largest seen */
} sampler_peaks;

/* Columns, in this order: t (seconds since open), gpu_alloc_gb (live), gpu_reserved_gb (held),
 * proc_ram_gb, sys_ram_gb, nvme_offload_gb (each in GiB), then every counter by its name. The first
 * sample is taken at once. UFM_EFILE names the path; UFM_ENOMEM. */
ufm_status sampler_open(const sampler_config *config, sampler **out);
/* Where device figures come from, from now on; NULL detaches (waits for a sample in progress; until
 * the next attach the device columns are 0). Peaks are kept. */
void sampler_attach(sampler *s, sampler_probe probe, void *ctx);
/* Takes one sample now, on the calling thread, and writes its row: layer ends. The caller holds no
 * lock of an engine. */
void sampler_sample(sampler *s);
/* Writes the last sample, stops, frees the sampler, and reports: UFM_EFILE with the path when a
 * line could not be written (no further one is then tried). peaks is set in either case and may be
 * NULL; a NULL sampler is allowed and leaves peaks alone. */
ufm_status sampler_close(sampler *s, sampler_peaks *peaks);

#endif
