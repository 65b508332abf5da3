/* SPDX-License-Identifier: MIT */
/* A routing table as a trace that others read: .jsonl or .npy, by the file's name. */
#include "telemetry/routing_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/npy.h"
#include "base/replace.h"
#include "base/status.h"
#include "base/text.h"

/* An ending alone is not a name. */
static bool is_named(const char *path, const char *ending)
{
	return strcmp(path, ending) != 0 && text_ends_with(path, ending);
}

ufm_status routing_file_check_name(const char *path)
{
	if (is_named(path, ".jsonl") || is_named(path, ".npy"))
		return UFM_OK;
	return status_fail(UFM_EINVAL, "found '%.200s', expected a name that ends with .jsonl or .npy",
	                   path);
}

static ufm_status fail(const char *path, const char *what)
{
	return status_fail(UFM_EFILE, "%s: cannot be %s: %s", path, what, strerror(errno));
}

/* ---- .jsonl */

static const uint16_t *event_of(const routing_table *t, uint64_t token, uint32_t layer)
{
	return t->ids + (token * t->layers + layer) * t->ranks;
}

static uint32_t count_experts(const routing_table *t, const uint16_t *event)
{
	uint32_t count = 0;
	while (count < t->ranks && event[count] != ROUTING_NONE)
		count++;
	return count;
}

static void put_event(FILE *to, const routing_table *t, uint64_t token, uint32_t layer)
{
	const uint16_t *event = event_of(t, token, layer);
	uint32_t count = count_experts(t, event);
	fprintf(to, "{\"layer\":%u,\"token\":%" PRIu64, layer, token % t->sequence_tokens);
	if (t->sequence_tokens < t->info.tokens)
		fprintf(to, ",\"sequence\":%" PRIu64, token / t->sequence_tokens);
	fputs(",\"experts\":[", to);
	for (uint32_t i = 0; i < count; i++)
		fprintf(to, i ? ",%u" : "%u", event[i]);
	fputs("]}\n", to);
}

static ufm_status write_jsonl(const replacement *file, const routing_table *t)
{
	FILE *to = replacement_stream(file);
	if (!to)
		return fail(file->asked, "opened");
	for (uint64_t token = 0; token < t->info.tokens && !ferror(to); token++)
		for (uint32_t layer = 0; layer < t->layers; layer++)
			put_event(to, t, token, layer);
	bool lost = fflush(to) != 0 || ferror(to);
	ufm_status status = lost ? fail(file->asked, "written") : UFM_OK;
	if (fclose(to) != 0 && status == UFM_OK)
		status = fail(file->asked, "written");
	return status;
}

/* ---- .npy */

static ufm_status check_shape(const routing_table *t, const char *path, uint32_t *ranks)
{
	*ranks = count_experts(t, t->ids);
	for (uint64_t token = 0; token < t->info.tokens; token++)
		for (uint32_t layer = 0; layer < t->layers; layer++) {
			uint32_t count = count_experts(t, event_of(t, token, layer));
			if (count == 0 || count != *ranks)
				return status_fail(UFM_EINVAL,
				                   "%s: token %" PRIu64 " of layer %u has %u experts, expected %u "
				                   "as the first token, or a name that ends with .jsonl",
				                   path, token, layer, count, *ranks ? *ranks : 1);
		}
	return UFM_OK;
}

/* Moves the ids together, in place: [events, ranks], in one byte each if that is enough. */
static npy_type pack(routing_table *t, uint32_t ranks)
{
	uint64_t events = t->info.tokens * t->layers, at = 0;
	uint8_t *bytes = (uint8_t *)t->ids;
	bool narrow = t->experts <= UINT8_MAX + 1u;
	for (uint64_t i = 0; i < events; i++)
		for (uint32_t j = 0; j < ranks; j++, at++) {
			uint16_t id = t->ids[i * t->ranks + j];
			if (narrow)
				bytes[at] = (uint8_t)id;
			else
				t->ids[at] = id;
		}
	return narrow ? NPY_U8 : NPY_U16;
}

static ufm_status write_npy(const replacement *file, routing_table *t)
{
	uint32_t ranks = 0;
	ufm_status status = check_shape(t, file->asked, &ranks);
	if (status != UFM_OK)
		return status;
	uint64_t shape[] = {t->info.tokens, t->layers, ranks};
	return npy_write_to(file->fd, file->asked, pack(t, ranks), 3, shape, t->ids);
}

/* ---- both */

ufm_status routing_file_write(const char *path, routing_table *table)
{
	replacement file;
	ufm_status status = routing_file_check_name(path);
	if (status != UFM_OK)
		return status;
	if (table->info.tokens == 0)
		return status_fail(
			UFM_EINVAL, "%s: the routing of no token is known of every layer, expected one", path);
	status = replacement_open(path, &file);
	if (status != UFM_OK)
		return status;
	status = is_named(path, ".npy") ? write_npy(&file, table) : write_jsonl(&file, table);
	if (status == UFM_OK)
		return replacement_commit(&file);
	replacement_abandon(&file);
	return status;
}
