/* SPDX-License-Identifier: MIT */
/* experts in every storage format that the device says it reads: against float64, and the same bits however entries
 * are grouped. */
#include "expert_bank.h"

#include "support/storage.h"

/* Skips, saying why, what the device does not read. */
static void need_format(const storage *s)
{
	if (!storage_is_read(s, the.backend->dtypes, the.backend->formats)) {
		print_message("the %s backend does not read %s\n", the.backend->name,
		              s->format ? ufm_format_name(s->format) : "F16");
		skip();
	}
}

/* A multiple of a block that is at least `least`. */
static uint32_t columns(const storage *s, uint32_t least)
{
	uint32_t step = storage_step(s);

	return (least + step - 1) / step * step;
}

static void check_float64(const storage *s)
{
	/* One and two rows, up to 16, and beyond: devices compute them by kernels of their own. */
	static const uint32_t few[3] = {1, 2, 0}, many[4] = {3, 16, 19, 53};

	for (int kind = UFM_EXPERT_MLP; kind <= UFM_EXPERT_GATED; kind += 2) {
		ufm_expert_desc odd =
			storage_desc(s, (ufm_expert_kind)kind, columns(s, 67), columns(s, 131));
		ufm_expert_desc even =
			storage_desc(s, (ufm_expert_kind)kind, columns(s, 336), columns(s, 64));
		expert_bank_check(s->name, &odd, few, 3);
		expert_bank_check(s->name, &even, few, 3);
		expert_bank_check(s->name, &odd, many, 4);
	}
}

static void check_grouping(const storage *s)
{
	static const uint32_t rows[5] = {5, 1, 0, 23, 2};
	ufm_expert_desc desc = storage_desc(s, UFM_EXPERT_GATED, columns(s, 96), columns(s, 208));
	expert_bank k;

	expert_bank_open(&k, &desc, rows, 5);
	expert_bank_run(&k, 0, 5, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
	for (uint32_t e = 5; e-- > 0;)
		expert_bank_run(&k, e, 1, k.y_at);
	download(k.again, k.y_at, expert_bank_y_bytes(&k));
	assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
	expert_bank_close(&k);
}

/* Every way in which matrices of a format, or plain ones of a dtype, are stored. */
static void check_stored(ufm_format format, ufm_dtype dtype)
{
	uint32_t found = 0;

	for (size_t i = 0; i < storage_count; i++) {
		const storage *s = &storages[i];
		if (s->format != format || s->dtype != dtype)
			continue;
		need_format(s);
		check_float64(s);
		check_grouping(s);
		found++;
	}
	assert_true(found > 0);
}

#define FORMAT_CASE(name, format) \
	static void coded_##name(void **state) \
	{ \
		(void)state; \
		check_stored(format, 0); \
	}

FORMAT_CASE(q8_0, UFM_FORMAT_Q8_0)
FORMAT_CASE(q4_0, UFM_FORMAT_Q4_0)
FORMAT_CASE(q5_0, UFM_FORMAT_Q5_0)
FORMAT_CASE(q4_k, UFM_FORMAT_Q4_K)
FORMAT_CASE(q5_k, UFM_FORMAT_Q5_K)
FORMAT_CASE(q6_k, UFM_FORMAT_Q6_K)
FORMAT_CASE(iq4_nl, UFM_FORMAT_IQ4_NL)
FORMAT_CASE(iq4_xs, UFM_FORMAT_IQ4_XS)
FORMAT_CASE(mxfp4, UFM_FORMAT_MXFP4)
FORMAT_CASE(e4m3, UFM_FORMAT_E4M3)
FORMAT_CASE(e2m1, UFM_FORMAT_E2M1)
FORMAT_CASE(u4, UFM_FORMAT_U4)

static void coded_f16(void **state)
{
	(void)state;
	check_stored(UFM_FORMAT_PLAIN, UFM_F16);
}

static const struct CMUnitTest cases[] = {
	CASE(coded_q8_0), CASE(coded_q4_0),   CASE(coded_q5_0),   CASE(coded_q4_k),  CASE(coded_q5_k),
	CASE(coded_q6_k), CASE(coded_iq4_nl), CASE(coded_iq4_xs), CASE(coded_mxfp4), CASE(coded_e4m3),
	CASE(coded_e2m1), CASE(coded_u4),     CASE(coded_f16),
};
const case_list coded_cases = CASE_LIST(cases);
