/* SPDX-License-Identifier: MIT */
/* A test for each kernel table, which finds its own by its state. After cmocka.h. */
#ifndef UFM_TESTS_KERNEL_TABLES_H
#define UFM_TESTS_KERNEL_TABLES_H

#include <string.h>

#include "kernels/kernels.h"
#include "support/amx_emulated.h"

/* Skips, saying why, where this CPU or build lacks the table. */
static inline const kernel_table *table_of(void **state)
{
	const char *why = NULL;
	const kernel_table *k = kernels_find(*state, &why);

	if (strcmp(*state, amx_emulated()->isa) == 0)
		return amx_emulated();
	if (!k) {
		print_message("%s: %s\n", (const char *)*state, why);
		skip();
	}
	return k;
}

/* Entries of an array of struct CMUnitTest. */
#define FOR_TABLE(test, isa) \
	{ \
#test " " isa, test, NULL, NULL, (void *)(uintptr_t)(isa) \
	}
#define FOR_TABLES(test) \
	FOR_TABLE(test, "scalar"), FOR_TABLE(test, "avx2"), FOR_TABLE(test, "avx512"), \
		FOR_TABLE(test, "amx"), FOR_TABLE(test, "amx-emulated")

#endif
