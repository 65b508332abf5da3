/* SPDX-License-Identifier: MIT */
/* Every kernel table over every storage format: what it expands has the bits of the definition, what it multiplies those
 * of the same weights as f32, whatever rows, columns and tokens; and both are near float64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "format/format.h"
#include "kernels/kernels.h"
#include "support/expert_sample.h"
#include "support/kernel_tables.h"
#include "support/storage.h"

static uint64_t base_seed;

/* An expert in a format, the same in f32, and inputs for both. */
typedef struct pair {
	ufm_expert_desc desc;
	void *block;
	expert_sample plain;
} pair;

static void pair_init(pair *p, const storage *s, ufm_expert_kind kind, uint32_t d_model,
                      uint32_t d_hidden, uint32_t tokens)
{
	p->desc = storage_desc(s, kind, d_model, d_hidden);
	p->block = alloc_zeroed(1, p->desc.block_bytes);
	storage_fill(&p->desc, p->block, rng_mix(base_seed, d_model * 31u + d_hidden));
	ufm_expert_desc plain = storage_plain_desc(&p->desc);
	expert_sample_init(&p->plain, &plain, tokens, base_seed);
	storage_expand(&p->desc, p->block, &plain, p->plain.block);
}

static void pair_free(pair *p)
{
	alloc_free(p->block);
	expert_sample_free(&p->plain);
}

/* ------------------------------------------------------------------ what weights are worth */

static bool same_bits(float a, float b)
{
	return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void check_part(const kernel_table *k, const char *name, const ufm_expert_desc *desc,
                       const void *block, const ufm_part *part)
{
	float *found = alloc_zeroed(part->cols, sizeof(float));
	float *expected = alloc_zeroed(part->cols, sizeof(float));
	format_matrix m = format_matrix_of(desc, block, part->role);

	for (uint32_t row = 0; row < part->rows; row++) {
		k->expand(desc, block, part->role, row, found);
		format_expand(&m, row, 0, part->cols, expected);
		for (uint32_t c = 0; c < part->cols; c++)
			if (!same_bits(found[c], expected[c]))
				fail_msg("%s, %s: element %u, %u of %u columns is %a, expected %a, seed %llu",
				         k->isa, name, row, c, part->cols, (double)found[c], (double)expected[c],
				         (unsigned long long)base_seed);
	}
	alloc_free(found);
	alloc_free(expected);
}

static void check_expanded(const kernel_table *k, const storage *s, uint32_t columns, bool any)
{
	ufm_expert_desc desc =
		storage_desc(s, UFM_EXPERT_MLP, columns, storage_step(s) > 2 ? storage_step(s) : 14);
	void *block = alloc_zeroed(1, desc.block_bytes);

	(any ? storage_fill_any : storage_fill)(&desc, block, base_seed + columns);
	check_part(k, s->name, &desc, block, ufm_expert_part(&desc, UFM_ROLE_UP));
	check_part(k, s->name, &desc, block, ufm_expert_part(&desc, UFM_ROLE_DOWN));
	alloc_free(block);
}

/* Of random bytes every scale comes, infinities and NaN included, and every code. */
static void test_expanded(void **state)
{
	static const uint32_t blocks[] = {1, 2, 3, 17};
	static const uint32_t odd[] = {1, 2, 6, 7, 130, 240, 256, 336, 511, 513, 1026};
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++) {
		const storage *s = &storages[i];
		uint32_t step = storage_step(s);
		for (size_t c = 0; step > 2 && c < sizeof blocks / sizeof blocks[0]; c++) {
			check_expanded(k, s, blocks[c] * step, true);
			check_expanded(k, s, blocks[c] * step, false);
		}
		for (size_t c = 0; step <= 2 && c < sizeof odd / sizeof odd[0]; c++) {
			check_expanded(k, s, (odd[c] + step - 1) / step * step, true);
			check_expanded(k, s, (odd[c] + step - 1) / step * step, false);
		}
	}
}

/* One row with every code of E4M3 and all kinds of scales, one group each. */
static void test_all_codes(void **state)
{
	static const float scales[] = {1.0f,     -1.0f,      0.0f,     -0.0f,     0x1p-149f, 0x1p-126f,
	                               0x1p118f, 0x1.8p119f, 0x1p127f, -0x1p127f, INFINITY,  NAN};
	enum { SCALES = sizeof scales / sizeof scales[0] };
	const kernel_table *k = table_of(state);
	storage s = {.name = "all codes", .scale_dtype = UFM_F32, .group_rows = 1, .group_cols = 256};

	for (int format = UFM_FORMAT_E4M3; format <= UFM_FORMAT_U4; format++) {
		s.format = (ufm_format)format;
		ufm_expert_desc desc = storage_desc(&s, UFM_EXPERT_MLP, 256, SCALES);
		uint8_t *block = alloc_zeroed(1, desc.block_bytes);
		const ufm_part *up = ufm_expert_part(&desc, UFM_ROLE_UP);
		for (uint64_t i = 0; i < format_part_bytes(up); i++)
			block[up->offset_bytes + i] = (uint8_t)i;
		memcpy(block + ufm_expert_part(&desc, UFM_ROLE_UP_SCALE)->offset_bytes, scales,
		       sizeof scales);
		check_part(k, s.name, &desc, block, up);
		alloc_free(block);
	}
}

/* ------------------------------------------------------------------ products */

static void check_same(const kernel_table *k, const char *what, const char *name, const pair *p,
                       const float *found, const float *expected, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!same_bits(found[i], expected[i]))
			fail_msg("%s, %s: %s of %u x %u, %u tokens: value %zu is %a, expected %a, seed %llu",
			         k->isa, name, what, p->desc.d_model, p->desc.d_hidden, p->plain.tokens, i,
			         (double)found[i], (double)expected[i], (unsigned long long)base_seed);
}

static void check_products(const kernel_table *k, const storage *s, ufm_expert_kind kind,
                           uint32_t d_model, uint32_t d_hidden, uint32_t tokens)
{
	pair p;

	pair_init(&p, s, kind, d_model, d_hidden, tokens);
	expert_sample *x = &p.plain;
	float *hidden = alloc_zeroed((size_t)tokens * d_hidden, sizeof(float));
	float *out = alloc_zeroed((size_t)tokens * d_model, sizeof(float));
	k->hidden(&x->desc, x->block, x->x, tokens, x->hidden, 0, d_hidden);
	k->output(&x->desc, x->block, x->hidden, tokens, x->out, 0, d_model);
	k->hidden(&p.desc, p.block, x->x, tokens, hidden, 0, d_hidden);
	k->output(&p.desc, p.block, x->hidden, tokens, out, 0, d_model);
	check_same(k, "hidden", s->name, &p, hidden, x->hidden, (size_t)tokens * d_hidden);
	check_same(k, "output", s->name, &p, out, x->out, (size_t)tokens * d_model);
	alloc_free(hidden);
	alloc_free(out);
	pair_free(&p);
}

/* Rows of every remainder of a tile, tokens of every tile and more than share an expansion. */
static void check_shapes(const kernel_table *k, const storage *s, uint32_t d_model,
                         uint32_t d_hidden)
{
	static const uint32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 48, 49};

	for (size_t t = 0; t < sizeof tokens / sizeof tokens[0]; t++)
		check_products(k, s, UFM_EXPERT_MLP, d_model, d_hidden, tokens[t]);
	check_products(k, s, UFM_EXPERT_GATED, d_model, d_hidden, 50);
}

/* Several pieces of columns. */
static void check_long(const kernel_table *k, const storage *s)
{
	uint32_t step = storage_step(s), columns = 2600 / step * step;

	check_products(k, s, UFM_EXPERT_MLP, columns, step, 1);
	check_products(k, s, UFM_EXPERT_MLP, columns, step, 7);
}

static void test_products(void **state)
{
	static const uint32_t sizes[][2] = {{1, 1},  {1, 13},   {7, 5},    {130, 2},
	                                    {16, 2}, {336, 13}, {60, 130}, {512, 3}};
	static const uint32_t blocks[][2] = {{1, 1}, {3, 1}};
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++) {
		const storage *s = &storages[i];
		uint32_t step = storage_step(s);
		for (size_t j = 0; step > 2 && j < sizeof blocks / sizeof blocks[0]; j++)
			check_shapes(k, s, blocks[j][0] * step, blocks[j][1] * step);
		for (size_t j = 0; step <= 2 && j < sizeof sizes / sizeof sizes[0]; j++)
			check_shapes(k, s, (sizes[j][0] + step - 1) / step * step,
			             (sizes[j][1] + step - 1) / step * step);
		check_long(k, s);
	}
}

/* Every piece of the result, computed alone, has the bits it had in the whole. */
static void check_pieces(const kernel_table *k, const storage *s)
{
	enum { TOKENS = 11, D = 256, H = 256 };
	static float hidden[TOKENS * H], whole[TOKENS * H];
	pair p;
	rng r;

	rng_seed(&r, base_seed);
	pair_init(&p, s, UFM_EXPERT_GATED, D, H, TOKENS);
	k->hidden(&p.desc, p.block, p.plain.x, TOKENS, whole, 0, H);
	for (int round = 0; round < 30; round++) {
		uint32_t first = rng_below(&r, TOKENS), tokens = rng_below(&r, TOKENS + 1 - first);
		uint32_t begin = rng_below(&r, H), end = begin + rng_below(&r, 1 + (H - begin) % 40);
		k->hidden(&p.desc, p.block, p.plain.x + first * D, tokens, hidden, begin, end);
		for (uint32_t t = 0; t < tokens; t++)
			assert_memory_equal(hidden + t * H + begin, whole + (first + t) * H + begin,
			                    (end - begin) * sizeof(float));
	}
	pair_free(&p);
}

static void test_pieces(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++)
		check_pieces(k, &storages[i]);
}

/* ------------------------------------------------------------------ scales that are no numbers */

/* Of random bytes: rows with NaN or infinities are those of f32, too. */
static void check_any(const kernel_table *k, const storage *s, uint32_t tokens)
{
	pair p;

	pair_init(&p, s, UFM_EXPERT_MLP, 512, 256, tokens);
	storage_fill_any(&p.desc, p.block, base_seed + tokens);
	storage_expand(&p.desc, p.block, &p.plain.desc, p.plain.block);
	float *out = alloc_zeroed((size_t)tokens * 512, sizeof(float));
	for (uint32_t i = 0; i < tokens * 256; i++)
		p.plain.hidden[i] = p.plain.x[i];
	k->output(&p.plain.desc, p.plain.block, p.plain.hidden, tokens, p.plain.out, 0, 512);
	k->output(&p.desc, p.block, p.plain.hidden, tokens, out, 0, 512);
	check_same(k, "output of any bytes", s->name, &p, out, p.plain.out, (size_t)tokens * 512);
	alloc_free(out);
	pair_free(&p);
}

static void test_any_bytes(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++) {
		check_any(k, &storages[i], 1);
		check_any(k, &storages[i], 3);
		check_any(k, &storages[i], 20);
	}
}

/* ------------------------------------------------------------------ float64 */

static void check_float64(const kernel_table *k, const storage *s, uint32_t tokens)
{
	uint32_t d = 2 * storage_step(s) + (storage_step(s) == 1 ? 65 : 0), h = storage_step(s) * 3;
	pair p;

	pair_init(&p, s, UFM_EXPERT_GATED, d, h, tokens);
	expert_sample *x = &p.plain;
	expert_sample_reference(x);
	k->hidden(&p.desc, p.block, x->x, tokens, x->hidden, 0, h);
	k->output(&p.desc, p.block, x->hidden, tokens, x->out, 0, d);
	double hidden =
		expert_sample_error(x->hidden, x->hidden_ref, (size_t)tokens * h, x->hidden_scale);
	double out = expert_sample_error(x->out, x->out_ref, (size_t)tokens * d, x->out_scale);
	if (!(hidden <= EXPERT_SAMPLE_TOLERANCE && out <= EXPERT_SAMPLE_TOLERANCE))
		fail_msg("%s, %s: %u tokens: errors %g and %g, seed %llu", k->isa, s->name, tokens, hidden,
		         out, (unsigned long long)base_seed);
	pair_free(&p);
}

static void test_float64(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++) {
		check_float64(k, &storages[i], 1);
		check_float64(k, &storages[i], 7);
	}
}

/* ------------------------------------------------------------------ the end of the bytes */

#define PAGE_BYTES 4096u

/* Pages of which the last may not be read. */
static uint8_t *guarded_pages(size_t bytes)
{
	uint8_t *at =
		mmap(NULL, bytes + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(at != MAP_FAILED);
	assert_int_equal(mprotect(at + bytes, PAGE_BYTES, PROT_NONE), 0);
	return at;
}

/* An expert whose last byte is a page's last: of blocks that carry their scales exactly, else as near as the alignment of
 * scales lets it be. */
static void check_end(const kernel_table *k, const storage *s, uint32_t d_model, uint32_t tokens)
{
	static float out[6 * 1024];
	uint32_t d_hidden = 3 * storage_step(s);
	ufm_expert_desc desc = storage_desc(s, UFM_EXPERT_MLP, d_model, d_hidden);
	uint64_t bytes = (desc.expert_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	uint8_t *pages = guarded_pages(bytes);
	uint64_t first = bytes - desc.expert_bytes;
	void *block = pages + (storage_step(s) > 2 ? first : first / 4 * 4);
	float *x = alloc_zeroed((size_t)tokens * d_hidden, sizeof(float));

	assert_true(tokens * d_model <= sizeof out / sizeof out[0]);
	storage_fill_any(&desc, block, base_seed);
	check_part(k, s->name, &desc, block, ufm_expert_part(&desc, UFM_ROLE_DOWN));
	k->output(&desc, block, x, tokens, out, 0, d_model);
	alloc_free(x);
	munmap(pages, bytes + PAGE_BYTES);
}

static void test_end(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++) {
		uint32_t step = storage_step(&storages[i]);
		for (uint32_t tokens = 1; tokens < 3; tokens++) {
			check_end(k, &storages[i], step, tokens);
			check_end(k, &storages[i], 2 * step, tokens);
		}
	}
}

/* ------------------------------------------------------------------ inputs prepared */

/* Nothing is prepared for what tiles do not multiply, so callers pass NULL. */
static void test_nothing_prepared(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t i = 0; i < storage_count; i++) {
		ufm_expert_desc desc = storage_desc(&storages[i], UFM_EXPERT_GATED, 256, 512);
		assert_int_equal(k->prepared_bytes(&desc, UFM_ROLE_UP, 9), 0);
		assert_int_equal(k->prepared_bytes(&desc, UFM_ROLE_DOWN, 9), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOR_TABLES(test_expanded), FOR_TABLES(test_all_codes),        FOR_TABLES(test_products),
		FOR_TABLES(test_pieces),   FOR_TABLES(test_any_bytes),        FOR_TABLES(test_float64),
		FOR_TABLES(test_end),      FOR_TABLES(test_nothing_prepared),
	};

	base_seed = rng_mix((uint64_t)time(NULL), 1);
	print_message("seed %llu\n", (unsigned long long)base_seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
