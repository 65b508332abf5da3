/* SPDX-License-Identifier: MIT */
/* A recorded trace, and routers that make its choices. */
#include "defaults/defaults.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_shape(char *at, routing *r)
{
	uint32_t *const to[] = {&r->tokens, &r->layers, &r->ranks};
	for (int i = 0; i < 3; i++) {
		char *end;
		unsigned long n = strtoul(at, &end, 10);
		if (end == at || !n || n > UINT32_MAX || *end != (i < 2 ? ',' : ')'))
			return 0;
		*to[i] = (uint32_t)n;
		at = end + 1;
	}
	return 1;
}

/* Sets the shape and returns bytes an id. */
static uint32_t read_header(FILE *f, const char *path, routing *r)
{
	unsigned char fixed[10];
	char text[4096] = "", *shape;
	if (fread(fixed, 1, sizeof fixed, f) != sizeof fixed || memcmp(fixed, "\x93NUMPY", 6) != 0)
		stop("%s: no NumPy file", path);
	size_t length = fixed[8] + 256u * fixed[9];
	if (length >= sizeof text || fread(text, 1, length, f) != length)
		stop("%s: header of %zu bytes, expected fewer than %zu", path, length, sizeof text);
	shape = strstr(text, "'shape': (");
	if (!shape || !read_shape(shape + strlen("'shape': ("), r))
		stop("%s: expected the shape (tokens, layers, ranks), none of them 0", path);
	if (strstr(text, "u1'") && !strstr(text, "True"))
		return 1;
	if (!strstr(text, "<u2'") || strstr(text, "True"))
		stop("%s: expected ids in u1 or <u2, rows first", path);
	return 2;
}

static void check_trace(const options *o, const routing *r)
{
	if (r->layers < o->layers || r->ranks != o->top_k)
		stop("%s: %u layers, %u ids a token; expected at least %u and %u", o->trace, r->layers,
		     r->ranks, o->layers, o->top_k);
	for (size_t i = 0; i < (size_t)r->tokens * r->layers * r->ranks; i++)
		if (r->ids[i] >= o->experts)
			stop("%s: expert %u, expected less than %u", o->trace, r->ids[i], o->experts);
}

const uint16_t *routing_event(const routing *r, uint32_t token, uint32_t layer)
{
	return r->ids + ((size_t)token * r->layers + layer) * r->ranks;
}

/* Of a token the recorded experts share nearly all weight, in their order; others are far below, each with
 * its own number, so that no two tie. */
static void make_routers(const options *o, routing *r)
{
	size_t each = (size_t)o->experts * o->d_model;
	r->routers = zeroed(o->layers * each, sizeof *r->routers);
	for (uint32_t l = 0; l < o->layers; l++) {
		float *w = r->routers + l * each;
		for (size_t i = 0; i < each; i++)
			w[i] = -30 + (float)((uint32_t)i * 2654435761u >> 8 & 1023) / 1024;
		for (uint32_t t = 0; t < r->tokens; t++)
			for (uint32_t k = 0; k < o->top_k; k++)
				w[(size_t)routing_event(r, t, l)[k] * o->d_model + t] =
					logf((1 + 0.01f * (float)(o->top_k - k)) / (float)o->top_k);
	}
}

routing routing_read(const options *o)
{
	routing r = {0};
	FILE *f = fopen(o->trace, "rb");
	if (!f)
		stop("%s: cannot be opened", o->trace);
	uint32_t bytes = read_header(f, o->trace, &r);
	r.tokens = r.tokens > o->d_model ? o->d_model : r.tokens;
	size_t count = (size_t)r.tokens * r.layers * r.ranks;
	r.ids = zeroed(count, sizeof *r.ids);
	for (size_t i = 0; i < count; i++)
		if (fread(&r.ids[i], bytes, 1, f) != 1) /* an id of one byte fills the lower one */
			stop("%s: ends early, expected %zu ids", o->trace, count);
	fclose(f);
	check_trace(o, &r);
	make_routers(o, &r);
	return r;
}
