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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_half)};

	return cmocka_run_group_tests_name("f16", tests, NULL, NULL);
}
