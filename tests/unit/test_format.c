/* SPDX-License-Identifier: MIT */
/* Storage formats: their table, and blocks and elements made and computed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "format/format.h"

#define BLOCK_MAX 210

static void test_table(void **state)
{
	const format_info expected[] = {
		{UFM_FORMAT_Q8_0, "Q8_0", 32, 34, FORMAT_WEIGHTS},
		{UFM_FORMAT_Q4_0, "Q4_0", 32, 18, FORMAT_WEIGHTS},
		{UFM_FORMAT_Q5_0, "Q5_0", 32, 22, FORMAT_WEIGHTS},
		{UFM_FORMAT_Q4_K, "Q4_K", 256, 144, FORMAT_WEIGHTS},
		{UFM_FORMAT_Q5_K, "Q5_K", 256, 176, FORMAT_WEIGHTS},
		{UFM_FORMAT_Q6_K, "Q6_K", 256, 210, FORMAT_WEIGHTS},
		{UFM_FORMAT_IQ4_NL, "IQ4_NL", 32, 18, FORMAT_WEIGHTS},
		{UFM_FORMAT_IQ4_XS, "IQ4_XS", 256, 136, FORMAT_WEIGHTS},
		{UFM_FORMAT_MXFP4, "MXFP4", 32, 17, FORMAT_WEIGHTS},
		{UFM_FORMAT_E4M3, "E4M3", 1, 1, FORMAT_SCALED_WEIGHTS | FORMAT_SCALES},
		{UFM_FORMAT_E2M1, "E2M1", 2, 1, FORMAT_SCALED_WEIGHTS},
		{UFM_FORMAT_U4, "U4", 2, 1, FORMAT_SCALED_WEIGHTS},
		{UFM_FORMAT_E8M0, "E8M0", 1, 1, FORMAT_SCALES},
		{UFM_FORMAT_U8, "U8", 1, 1, FORMAT_ZEROS},
	};
	const uint32_t count = sizeof expected / sizeof expected[0];

	(void)state;
	for (uint32_t i = 0; i < count; i++) {
		const format_info *info = format_find((uint32_t)expected[i].format);
		assert_non_null(info);
		assert_ptr_equal(info, format_at(i));
		assert_string_equal(info->name, expected[i].name);
		assert_string_equal(ufm_format_name(info->format), expected[i].name);
		assert_int_equal(info->elements, expected[i].elements);
		assert_int_equal(info->bytes, expected[i].bytes);
		assert_int_equal(info->uses, expected[i].uses);
		assert_int_equal(FORMAT_STRIP % info->elements, 0);
	}
	assert_null(format_at(count));
	assert_null(format_find(UFM_FORMAT_PLAIN));
	assert_null(format_find(10));
	assert_string_equal(ufm_format_name(UFM_FORMAT_PLAIN), "plain");
	assert_null(ufm_format_name((ufm_format)10));
	assert_null(ufm_format_name((ufm_format)UINT32_MAX));
}

static void test_bytes(void **state)
{
	(void)state;
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q8_0, 0), 0);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q8_0, 31), 0);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q8_0, 32), 34);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q8_0, 33), 0);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q6_K, 7168), 28 * 210);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q6_K, 128), 0);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_E2M1, 7), 0);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_U4, 8), 4);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_PLAIN, 32), 0);
	assert_int_equal(ufm_format_bytes((ufm_format)99, 32), 0);
	/* the most that can be counted, and one block more than that */
	assert_true(ufm_format_bytes(UFM_FORMAT_E4M3, UINT64_MAX) == UINT64_MAX);
	assert_true(ufm_format_bytes(UFM_FORMAT_U4, UINT64_MAX - 1) == UINT64_MAX / 2);
	assert_true(ufm_format_bytes(UFM_FORMAT_Q8_0, UINT64_MAX / 34 * 32) == UINT64_MAX / 34 * 34);
	assert_int_equal(ufm_format_bytes(UFM_FORMAT_Q8_0, (UINT64_MAX / 34 + 1) * 32), 0);
}

static void test_parts(void **state)
{
	const ufm_part plain = {.dtype = UFM_F16, .rows = 3, .cols = 5};
	const ufm_part coded = {.format = UFM_FORMAT_Q4_0, .rows = 3, .cols = 64};
	const ufm_part odd = {.format = UFM_FORMAT_E2M1, .rows = 3, .cols = 5};

	(void)state;
	assert_int_equal(format_row_bytes(&plain), 10);
	assert_int_equal(format_part_bytes(&plain), 30);
	assert_int_equal(format_row_bytes(&coded), 36);
	assert_int_equal(format_part_bytes(&coded), 108);
	assert_int_equal(format_row_bytes(&odd), 0);
	assert_false(format_is_scaled(&plain));
	assert_false(format_is_scaled(&coded));
	assert_true(format_is_scaled(&odd));
}

/* ------------------------------------------------------------------ one element */

static void expect(float found, double expected)
{
	if ((double)found != expected || !signbit(found) != !signbit(expected))
		fail_msg("found %.9g, expected %.9g", (double)found, expected);
}

static void test_e4m3(void **state)
{
	(void)state;
	expect(format_from_e4m3(0x00), 0.0);
	expect(format_from_e4m3(0x80), -0.0);
	expect(format_from_e4m3(0x01), 0x1p-9);
	expect(format_from_e4m3(0x87), -7 * 0x1p-9);
	expect(format_from_e4m3(0x08), 0x1p-6);
	expect(format_from_e4m3(0x38), 1.0);
	expect(format_from_e4m3(0x3b), 1.375);
	expect(format_from_e4m3(0xc0), -2.0);
	expect(format_from_e4m3(0x7e), 448.0);
	expect(format_from_e4m3(0xf8), -256.0);
	assert_true(isnan(format_from_e4m3(0x7f)));
	assert_true(isnan(format_from_e4m3(0xff)));
}

static void test_e8m0(void **state)
{
	(void)state;
	expect(format_from_e8m0(0), 0x1p-127);
	expect(format_from_e8m0(1), 0x1p-126);
	expect(format_from_e8m0(127), 1.0);
	expect(format_from_e8m0(254), 0x1p127);
	assert_true(isnan(format_from_e8m0(255)));
}

static void test_e2m1(void **state)
{
	const double sizes[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

	(void)state;
	for (uint8_t i = 0; i < 8; i++) {
		expect(format_from_e2m1(i), sizes[i]);
		expect(format_from_e2m1((uint8_t)(i + 8)), -sizes[i]);
	}
}

/* ------------------------------------------------------------------ blocks */

/* A row of one block; no element of the result is left as it was. */
static void expand(ufm_format format, const uint8_t *block, float *out)
{
	const format_info *info = format_find((uint32_t)format);
	const ufm_part part = {.format = (uint32_t)format, .rows = 1, .cols = info->elements};
	const format_matrix m = {
		.part = &part, .data = block, .row_bytes = info->bytes, .factor = 1.0f};

	for (uint32_t i = 0; i < info->elements; i++)
		out[i] = NAN;
	format_expand(&m, 0, 0, info->elements, out);
	for (uint32_t i = 0; i < info->elements; i++)
		assert_true(isfinite(out[i]));
}

static void test_q8_0(void **state)
{
	uint8_t block[BLOCK_MAX] = {0x00, 0x38}; /* 0.5 */
	float out[256];

	(void)state;
	for (int i = 0; i < 32; i++)
		block[2 + i] = (uint8_t)(i - 16);
	block[2] = 0x80;
	expand(UFM_FORMAT_Q8_0, block, out);
	expect(out[0], -64.0);
	for (int i = 1; i < 32; i++)
		expect(out[i], 0.5 * (i - 16));
}

static void test_four_bits(void **state)
{
	uint8_t block[BLOCK_MAX] = {0x00, 0x40, 0x2f}; /* 2 */
	float out[256];

	(void)state;
	block[17] = 0x81;
	expand(UFM_FORMAT_Q4_0, block, out);
	expect(out[0], 2.0 * 7);
	expect(out[16], 2.0 * -6);
	expect(out[15], 2.0 * -7);
	expect(out[31], 0.0);
	expect(out[1], 2.0 * -8);
	block[2] = 0xf0;
	expand(UFM_FORMAT_IQ4_NL, block, out);
	expect(out[0], 2.0 * -127);
	expect(out[16], 2.0 * 113);
	expect(out[15], 2.0 * -104);
	expect(out[31], 2.0 * 1);
}

static void test_q5_0(void **state)
{
	uint8_t block[BLOCK_MAX] = {0x00, 0x3c, 0x01, 0, 0, 0x80, 0x43}; /* 1; elements 0 and 31 */
	float out[256];

	(void)state;
	block[6 + 15] = 0x5a;
	expand(UFM_FORMAT_Q5_0, block, out);
	expect(out[0], 3);
	expect(out[16], 4 - 16);
	expect(out[15], 10 - 16);
	expect(out[31], 5);
	expect(out[1], -16);
}

/* Scales 1 and 19 and minima 2 and 37 of the runs 0 and 4, whose upper bits lie with those of run 0. */
static void put_k_head(uint8_t *block)
{
	const uint8_t head[16] = {0x00, 0x3c, 0x00, 0x38, 0x41, 0, 0, 0, 0x82, 0, 0, 0, 0x53};

	memcpy(block, head, sizeof head);
}

static void test_q4_k(void **state)
{
	uint8_t block[BLOCK_MAX] = {0};
	float out[256];

	(void)state;
	put_k_head(block);
	block[16] = 0x9c;
	block[16 + 64] = 0x07;
	expand(UFM_FORMAT_Q4_K, block, out);
	expect(out[0], 1 * 12 - 0.5 * 2);
	expect(out[1], -0.5 * 2);
	expect(out[32], 0.0);
	expect(out[128], 19 * 7 - 0.5 * 37);
	expect(out[159], -0.5 * 37);
	expect(out[255], 0.0);
}

static void test_q5_k(void **state)
{
	uint8_t block[BLOCK_MAX] = {0};
	float out[256];

	(void)state;
	put_k_head(block);
	block[16] = 0x11; /* the fifth bits of element 0 of the runs 0 and 4 */
	block[48] = 0x9c;
	block[48 + 64] = 0x07;
	expand(UFM_FORMAT_Q5_K, block, out);
	expect(out[0], 1 * 28 - 0.5 * 2);
	expect(out[1], -0.5 * 2);
	expect(out[128], 19 * 23 - 0.5 * 37);
	expect(out[129], -0.5 * 37);
}

static void test_q6_k(void **state)
{
	uint8_t block[BLOCK_MAX] = {[0] = 0xa5, [32] = 0x3c, [127] = 0x70, [128] = 0xd2, [191] = 0x80};
	float out[256];

	(void)state;
	block[192] = 2;
	block[194] = (uint8_t)-1;
	block[196] = 3;
	block[198] = (uint8_t)-128;
	block[207] = 4;
	block[209] = 0x34; /* 0.25 */
	expand(UFM_FORMAT_Q6_K, block, out);
	expect(out[0], 0.25 * 2 * (0x25 - 32));
	expect(out[32], 0.25 * -1 * (0x0c - 32));
	expect(out[64], 0.25 * 3 * (0x1a - 32));
	expect(out[96], 0.25 * -128 * (0x33 - 32));
	expect(out[255], 0.25 * 4 * (0x27 - 32));
	expect(out[1], 0.25 * 2 * -32);
}

static void test_iq4_xs(void **state)
{
	uint8_t block[BLOCK_MAX] = {0x00, 0x40, 0x02, 0x00, 0x01}; /* 2; run 0: 0x21 */
	float out[256];

	(void)state;
	block[8] = 0x8f;
	expand(UFM_FORMAT_IQ4_XS, block, out);
	expect(out[0], 2.0 * 1 * 113);
	expect(out[16], 2.0 * 1 * 1);
	expect(out[1], 2.0 * 1 * -127);
	expect(out[255], 2.0 * -32 * -127);
}

static void test_mxfp4(void **state)
{
	uint8_t block[BLOCK_MAX] = {128, 0x97, 0x8f}; /* 2 */
	float out[256];

	(void)state;
	expand(UFM_FORMAT_MXFP4, block, out);
	expect(out[0], 2.0 * 6);
	expect(out[16], 2.0 * -0.5);
	expect(out[1], 2.0 * -6);
	expect(out[17], 0.0); /* of no sign, unlike E2M1's */
	block[0] = 0;
	expand(UFM_FORMAT_MXFP4, block, out);
	expect(out[0], 6 * 0x1p-127);
	expect(out[16], -0x1p-128);
}

/* ------------------------------------------------------------------ parts beside a matrix */

/* [4, 20] in groups of 2 x 16: four scales 1, 2, 3, 4 and as many zero points. */
typedef struct sample {
	ufm_part part, scale;
	uint8_t data[80];
	float scales[4];
	uint8_t zeros[4];
	format_matrix m;
} sample;

static void make_sample(sample *s, ufm_format format)
{
	*s = (sample){.part = {.rows = 4, .cols = 20, .group_rows = 2, .group_cols = 16},
	              .scale = {.dtype = UFM_F32, .rows = 2, .cols = 2},
	              .scales = {1, 2, 3, 4},
	              .zeros = {0, 5, 8, 15}};
	s->part.format = (uint32_t)format;
	s->m = (format_matrix){.part = &s->part,
	                       .data = s->data,
	                       .row_bytes = format_row_bytes(&s->part),
	                       .scale = &s->scale,
	                       .scales = (const uint8_t *)s->scales,
	                       .factor = 0.5f};
}

static void expand_row(const sample *s, uint32_t row, float *out)
{
	for (int i = 0; i < 20; i++)
		out[i] = NAN;
	format_expand(&s->m, row, 0, 20, out);
}

static void test_groups(void **state)
{
	float out[20];
	sample s;

	(void)state;
	make_sample(&s, UFM_FORMAT_E4M3);
	memset(s.data, 0x38, sizeof s.data); /* 1 */
	for (uint32_t row = 0; row < 4; row++) {
		expand_row(&s, row, out);
		for (uint32_t col = 0; col < 20; col++) {
			double scale = row / 2 * 2 + col / 16 + 1;
			expect(out[col], 0.5 * scale);
			expect(format_scale(&s.m, row, col), 0.5 * scale);
			expect(format_zero(&s.m, row, col), 0.0);
		}
	}
}

static void test_zero_points(void **state)
{
	float out[20];
	sample s;

	(void)state;
	make_sample(&s, UFM_FORMAT_U4);
	assert_int_equal(s.m.row_bytes, 10);
	memset(s.data, 0xd3, sizeof s.data);
	expand_row(&s, 3, out);
	expect(out[0], (3 - 8) * (3 * 0.5));
	expect(out[1], (13 - 8) * (3 * 0.5));
	expect(out[19], (13 - 8) * (4 * 0.5));
	s.m.zeros = s.zeros;
	expand_row(&s, 0, out);
	expect(out[0], 3 * 0.5);
	expect(out[17], (13 - 5) * (2 * 0.5));
	expand_row(&s, 3, out);
	expect(out[1], (13 - 8) * (3 * 0.5));
	expect(out[16], (3 - 15) * (4 * 0.5));
}

static void test_scales_of_every_kind(void **state)
{
	const uint8_t bytes[4] = {0x80, 0x38, 0x40, 0x7e};
	const uint16_t bf16[4] = {0x3f80, 0x4000, 0xbf80, 0x3f00}, f16[4] = {0x3c00, 0x4000, 0xbc00, 1};
	float out[20];
	sample s;

	(void)state;
	make_sample(&s, UFM_FORMAT_E2M1);
	memset(s.data, 0x2f, sizeof s.data); /* -6, 1 */
	s.m.scales = bytes;
	s.scale = (ufm_part){.format = UFM_FORMAT_E8M0, .rows = 2, .cols = 2};
	expand_row(&s, 0, out);
	expect(out[0], -6 * 2 * 0.5);
	expect(out[19], 0x1p-71 * 0.5);
	s.scale.format = UFM_FORMAT_E4M3;
	expand_row(&s, 3, out);
	expect(out[0], -6 * 2 * 0.5);
	expect(out[19], 448 * 0.5);
	s.scale = (ufm_part){.dtype = UFM_BF16, .rows = 2, .cols = 2};
	s.m.scales = (const uint8_t *)bf16;
	expand_row(&s, 2, out);
	expect(out[1], -1 * 0.5);
	expect(out[16], -6 * 0.5 * 0.5);
	s.scale.dtype = UFM_F16;
	s.m.scales = (const uint8_t *)f16;
	expand_row(&s, 2, out);
	expect(out[1], -1 * 0.5);
	expect(out[17], 0x1p-24 * 0.5);
}

/* A row in strips is the row, wherever groups begin. */
static void test_strips(void **state)
{
	enum { COLS = 3 * FORMAT_STRIP + 40, GROUP = 48, SCALES = (COLS + GROUP - 1) / GROUP };
	const ufm_part scale = {.dtype = UFM_F32, .rows = 1, .cols = SCALES};
	const ufm_part part = {
		.format = UFM_FORMAT_U4, .rows = 1, .cols = COLS, .group_rows = 1, .group_cols = GROUP};
	static uint8_t data[COLS / 2];
	static float scales[SCALES], whole[COLS], strips[COLS];
	const format_matrix m = {.part = &part,
	                         .data = data,
	                         .row_bytes = sizeof data,
	                         .scale = &scale,
	                         .scales = (const uint8_t *)scales,
	                         .factor = 1.0f};

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(37 * i + 11);
	for (int i = 0; i < SCALES; i++)
		scales[i] = 0.5f * (float)(i + 1);
	format_expand(&m, 0, 0, COLS, whole);
	for (uint32_t first = 0; first < COLS; first += FORMAT_STRIP)
		format_expand(&m, 0, first, COLS - first < FORMAT_STRIP ? COLS - first : FORMAT_STRIP,
		              strips + first);
	assert_memory_equal(whole, strips, sizeof whole);
	expect(whole[COLS - 1], ((data[COLS / 2 - 1] >> 4) - 8) * (double)scales[SCALES - 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_e4m3),
		cmocka_unit_test(test_e8m0),
		cmocka_unit_test(test_e2m1),
		cmocka_unit_test(test_q8_0),
		cmocka_unit_test(test_four_bits),
		cmocka_unit_test(test_q5_0),
		cmocka_unit_test(test_q4_k),
		cmocka_unit_test(test_q5_k),
		cmocka_unit_test(test_q6_k),
		cmocka_unit_test(test_iq4_xs),
		cmocka_unit_test(test_mxfp4),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_zero_points),
		cmocka_unit_test(test_scales_of_every_kind),
		cmocka_unit_test(test_strips),
	};

	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
