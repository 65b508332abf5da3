/* SPDX-License-Identifier: MIT */
/* A device and a stream for one question. */
#include "probe/peak.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/log.h"
#include "device/registry.h"

#define OWN_PRODUCTS "own products"

static ufm_status ask_device(const ufm_backend *b, ufm_device *device, const peak_config *config,
                             ufm_peak *out)
{
	ufm_stream *stream;
	ufm_status status = b->stream_open(device, NULL, &stream);
	if (status)
		return status;
	status = registry_peak(b, stream, config->dtype, config->math, out);
	b->stream_close(stream);
	return status;
}

ufm_status peak_ask(const peak_config *config, peak_found *out)
{
	const ufm_backend *b;
	ufm_device_config open;
	ufm_device *device;
	peak_found found = {0};
	ufm_status status = registry_find(config->backend, &b);
	if (status)
		return status;
	UFM_STRUCT_INIT(&open);
	open.compute_threads = config->threads;
	status = b->device_open(&open, &device);
	if (!status) {
		status = ask_device(b, device, config, &found.peak);
		b->device_close(device);
	}
	if (status == UFM_EFILE)
		return status;
	if (status) {
		found.peak = (ufm_peak){0};
		snprintf(found.why, sizeof found.why, "%.250s", ufm_last_error());
		log_info("the most arithmetic of this device is not known: %s", found.why);
	}
	*out = found;
	return UFM_OK;
}

double peak_used(const peak_found *found, double own_gflops, const char **source)
{
	bool own = own_gflops > found->peak.gflops;
	*source = own ? OWN_PRODUCTS : found->peak.source;
	return own ? own_gflops : found->peak.gflops;
}
