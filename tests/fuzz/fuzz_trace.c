/* SPDX-License-Identifier: MIT */
/* Fuzz target: the same bytes as a trace of JSON lines, and as the CSV that says where sequences begin.
 * What is accepted keeps what trace.h promises. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "require.h"
#include "trace/trace_int.h"

enum { TOKENS = 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_refused(ufm_status status)
{
	require(status == UFM_EFORMAT);
	require(*ufm_last_error() && !strchr(ufm_last_error(), '\n'));
}

static void check_starts(const uint64_t *starts, uint32_t sequences, uint64_t tokens)
{
	require(sequences >= 1 && starts[0] == 0 && starts[sequences] == tokens);
	for (uint32_t i = 0; i < sequences; i++)
		require(starts[i] < starts[i + 1]);
}

static void check_event(const uint16_t *ids, uint32_t ranks, uint32_t experts, bool *full)
{
	uint32_t count = 0;
	while (count < ranks && ids[count] != TRACE_NONE)
		count++;
	*full |= count == ranks;
	for (uint32_t i = 0; i < ranks; i++) {
		require(i < count ? ids[i] < experts : ids[i] == TRACE_NONE);
		/* Some of the pairs: an event may have as many members as the input has numbers. */
		for (uint32_t j = i > 64 ? i - 64 : 0; j < i && i < count; j++)
			require(ids[i] != ids[j]);
	}
}

static void check_trace(const trace *t)
{
	bool full = false;
	require(t->tokens && t->layers && t->ranks && t->experts && t->experts <= TRACE_EXPERTS_MAX);
	for (uint64_t token = 0; token < t->tokens; token++)
		for (uint32_t layer = 0; layer < t->layers; layer++)
			check_event(trace_event(t, token, layer), t->ranks, t->experts, &full);
	require(full);
	if (t->starts)
		check_starts(t->starts, t->sequences, t->tokens);
}

static void read_objects(int fd)
{
	trace t;
	ufm_status status = trace_read_jsonl(fd, 0, &t);
	if (status) {
		check_refused(status);
		return;
	}
	check_trace(&t);
	trace_close(&t);
}

static void read_list(int fd)
{
	uint64_t *starts;
	uint32_t sequences;
	ufm_status status = trace_read_sequences(fd, TOKENS, &starts, &sequences);
	if (status) {
		check_refused(status);
		return;
	}
	check_starts(starts, sequences, TOKENS);
	alloc_free(starts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);
	require(fd >= 0);
	require(write(fd, data, size_bytes) == (ssize_t)size_bytes);
	read_objects(fd);
	read_list(fd);
	close(fd);
	return 0;
}
