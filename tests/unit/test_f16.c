/* SPDX-License-Identifier: MIT */
/* Half precision: every pattern against the definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/f16.h"

/* sign, 5 bits of exponent with bias 15, 10 bits of fraction */
static double by_definition(uint32_t bits)
{
	int exponent = (int)(bits >> 10 & 0x1f);
	double fraction = bits & 0x3ff, sign = bits & 0x8000 ? -1 : 1;

	if (exponent == 0)
		return sign * ldexp(fraction, -24);
	return sign * ldexp(1024 + fraction, exponent - 25);
}

static void test_every_half(void **state)
{
	(void)state;
	for (uint32_t bits = 0; bits < 65536; bits++) {
		float value = f16_to_f32((uint16_t)bits);

		if ((bits & 0x7c00) != 0x7c00) {
			assert_true((double)value == by_definition(bits));
			assert_int_equal(signbit(value) != 0, bits >> 15);
		} else if (bits & 0x3ff) {
			assert_true(isnan(value));
		} else {
			assert_true(isinf(value) && (signbit(value) != 0) == (bits >> 15 != 0));
		}
	}
}

/* Every half comes back, and what lies between two goes to the nearer, from the middle to the even one. */
static void test_rounding(void **state)
{
	(void)state;
	for (uint32_t bits = 0; bits < 0x7c00; bits++) {
		float low = f16_to_f32((uint16_t)bits);
		/* beyond the largest half the next would be 65536 */
		float high = bits == 0x7bff ? 65536.0f : f16_to_f32((uint16_t)(bits + 1));
		float middle = low + (high - low) / 2; /* exact: a float has 13 bits more */
		uint32_t even = bits + (bits & 1);
		for (uint32_t sign = 0; sign < 2; sign++) {
			float s = sign ? -1.0f : 1.0f;
			uint32_t top = sign << 15;
			assert_int_equal(f16_from_f32(s * low), top | bits);
			assert_int_equal(f16_from_f32(s * middle), top | even);
			assert_int_equal(f16_from_f32(s * nextafterf(middle, 0)), top | bits);
			assert_int_equal(f16_from_f32(s * nextafterf(middle, INFINITY)), top | (bits + 1));
		}
	}
	assert_int_equal(f16_from_f32(INFINITY), 0x7c00);
	assert_int_equal(f16_from_f32(-3e38f), 0xfc00);
	assert_int_equal(f16_from_f32(1e-40f), 0);
	assert_true(isnan(f16_to_f32(f16_from_f32(NAN))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_half),
	                                   cmocka_unit_test(test_rounding)};

	return cmocka_run_group_tests_name("f16", tests, NULL, NULL);
}
