/* SPDX-License-Identifier: MIT */
/* Rings of made-up routing, and a folder for the files made of it. */
#ifndef UFM_TESTS_ROUTINGS_H
#define UFM_TESTS_ROUTINGS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "telemetry/routing.h"

#define assert_says(text) assert_non_null(strstr(ufm_last_error(), (text)))

static inline routing *open_rings(uint32_t layers, uint32_t experts, uint32_t ranks, uint32_t room)
{
	routing *r;
	routing_config c = {layers, experts, ranks, 2ull * layers * ranks * room};
	assert_int_equal(routing_open(&c, &r), UFM_OK);
	return r;
}

/* What a test says a layer's token n goes to: pairwise different ranks. */
static inline int32_t id_of(uint32_t layer, uint64_t n, uint32_t rank, uint32_t experts)
{
	return (int32_t)((n * 7 + layer * 3 + rank) % experts);
}

static inline void add(routing *r, uint32_t layer, uint64_t first, uint32_t tokens, uint32_t ranks,
                       uint32_t experts)
{
	int32_t ids[256];
	assert_true(tokens * ranks <= 256);
	for (uint32_t i = 0; i < tokens; i++)
		for (uint32_t j = 0; j < ranks; j++)
			ids[i * ranks + j] = id_of(layer, first + i, j, experts);
	routing_add(r, layer, ids, tokens, ranks);
}

static inline routing_table copy(routing *r, uint32_t sequences)
{
	routing_table t;
	assert_int_equal(routing_copy(r, sequences, &t), UFM_OK);
	return t;
}

static inline void check_info(const ufm_routing_info *info, uint64_t dropped, uint64_t tokens,
                              uint64_t partial)
{
	assert_int_equal(info->dropped_tokens, dropped);
	assert_int_equal(info->tokens, tokens);
	assert_int_equal(info->partial_tokens, partial);
}

typedef struct folder {
	char name[64], path[128];
} folder;

static inline folder open_folder(const char *file)
{
	folder d = {.name = "/tmp/ufm_routing_XXXXXX"};
	assert_non_null(mkdtemp(d.name));
	snprintf(d.path, sizeof d.path, "%s/%s", d.name, file);
	return d;
}

/* Nothing but the file may be left in it. */
static inline void close_folder(const folder *d)
{
	unlink(d->path);
	assert_int_equal(rmdir(d->name), 0);
}

static inline char *read_text(const char *path)
{
	static char text[65536]; /* of the latest call */
	FILE *from = fopen(path, "r");
	assert_non_null(from);
	size_t size = fread(text, 1, sizeof text - 1, from);
	fclose(from);
	text[size] = '\0';
	return text;
}

#endif
