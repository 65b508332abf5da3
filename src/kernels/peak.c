/* SPDX-License-Identifier: MIT */
/* Which loop shows the most that a table's instructions can do. */
#include <string.h>

#include "kernels/kernels_int.h"

static const struct {
	const char *isa, *loop;
	uint64_t (*run)(uint32_t rounds);
} loops[] = {
	{"scalar", "vectors of 4", kernels_peak_scalar},
	{"avx2", "avx2", kernels_peak_avx2},
	{"avx512", "avx512", kernels_peak_avx512},
	{"amx", "amx", kernels_peak_amx},
};

/* AMX multiplies bf16 alone; for all else its table has AVX-512. */
static const char *isa_for(const kernel_table *table, ufm_dtype dtype)
{
	return strcmp(table->isa, "amx") == 0 && dtype != UFM_BF16 ? "avx512" : table->isa;
}

uint64_t kernels_peak(const kernel_table *table, ufm_dtype dtype, uint32_t rounds,
                      const char **loop)
{
	const char *isa = isa_for(table, dtype);

	for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
		if (strcmp(loops[i].isa, isa) != 0)
			continue;
		*loop = loops[i].loop;
		return loops[i].run(rounds);
	}
	return 0;
}
