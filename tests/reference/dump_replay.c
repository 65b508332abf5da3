/* SPDX-License-Identifier: MIT */
/* Replays events and prints the hits, one JSON line for each policy and number of slots:
 *     dump_replay EVENTS.npy LAYERS EXPERTS SLOTS...
 * EVENTS: i32 [events, 1 + most members]: the layer, the expert ids in rank order, then -1. One cache
 * without a ring. */
#include <stdio.h>
#include <stdlib.h>

#include "base/npy.h"
#include "policy/registry.h"
#include "support/replay.h"

static void refuse(const char *path, const char *what)
{
	fprintf(stderr, "dump_replay: %s: %s\n", path, what);
	exit(4);
}

static void add_event(trace *t, const int32_t *row, uint64_t cols, const char *path)
{
	if (row[0] < 0 || (uint32_t)row[0] >= t->layers)
		refuse(path, "a layer is out of range");
	trace_begin(t, (uint32_t)row[0]);
	for (uint64_t i = 1; i < cols && row[i] != -1; i++) {
		if (row[i] < 0 || (uint32_t)row[i] >= t->experts)
			refuse(path, "an expert is out of range");
		trace_add(t, (uint32_t)row[i]);
	}
}

static void read_events(trace *t, const char *path, uint32_t layers, uint32_t experts)
{
	npy_array a;

	if (npy_open(path, &a) != UFM_OK)
		refuse(path, ufm_last_error());
	if (a.type != NPY_I32 || a.dims != 2)
		refuse(path, "expected i32 [events, 1 + members]");
	trace_init(t, layers, experts, (uint32_t)a.shape[0], (uint32_t)(a.shape[0] * a.shape[1]));
	for (uint64_t e = 0; e < a.shape[0]; e++)
		add_event(t, (const int32_t *)a.data + e * a.shape[1], a.shape[1], path);
	trace_link(t);
	npy_close(&a);
}

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
	trace t;

	if (argc < 5) {
		fprintf(stderr, "dump_replay EVENTS.npy LAYERS EXPERTS SLOTS...\n");
		return 2;
	}
	read_events(&t, argv[1], number(argv[2]), number(argv[3]));
	for (int i = 4; i < argc; i++) {
		for (uint32_t p = 0; policy_at(p); p++) {
			uint64_t hits = replay_trace(&t, policy_at(p), number(argv[i]), 0, NULL);

			printf("{\"policy\": \"%s\", \"slots\": %u, \"hits\": %llu}\n", policy_at(p)->name,
			       number(argv[i]), (unsigned long long)hits);
		}
	}
	trace_free(&t);
	return 0;
}
