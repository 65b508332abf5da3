/* SPDX-License-Identifier: MIT */
/* A failure, by its status and by what its line must say. After cmocka.h. */
#ifndef UFM_TESTS_ASSERT_ERROR_H
#define UFM_TESTS_ASSERT_ERROR_H

#include <string.h>
#include <ufm/ufm.h>

#define assert_error(status, expected, text) \
	do { \
		assert_int_equal(status, expected); \
		if (!strstr(ufm_last_error(), text)) \
			fail_msg("\"%s\" does not contain \"%s\"", ufm_last_error(), text); \
	} while (0)

#endif
