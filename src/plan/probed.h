/* SPDX-License-Identifier: MIT */
/* This machine, probed on an engine of a few experts of one shape, for whoever has no engine yet. */
#ifndef UFM_PLAN_PROBED_H
#define UFM_PLAN_PROBED_H

#include "probe/probe.h"

typedef struct probe_machine_config {
	const ufm_expert_desc *desc; /* blocks of this size */
	uint32_t top_k;
	const char *backend; /* as ufm_host_config's */
	double link_gbps;    /* cpu backend: its emulated link; 0: none */
	/* as ufm_host_config's: while the experts are made, and stop also while they are loaded */
	void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
	void *progress_ctx;
	int (*stop)(void *ctx);
	void *stop_ctx;
} probe_machine_config;

typedef struct probe_machine_found {
	probe_rates rates;
	double emulated_gbps;    /* of the link; 0: a real one */
	uint64_t lockable_bytes; /* of host memory, that a bank may take here */
	uint32_t cores;          /* that this process may use */
	char backend[64], device[256];
} probe_machine_found;

/* UFM_EBACKEND, UFM_ECANCELED, and what opening a host tier or an engine may fail with. */
ufm_status probe_machine(const probe_machine_config *config, probe_machine_found *out);

#endif
