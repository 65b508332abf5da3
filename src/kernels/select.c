/* SPDX-License-Identifier: MIT */
/* Which table this CPU and this build can use. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/kernels_int.h"

static bool cpu_any(void)
{
	return true;
}

#if defined(__x86_64__) || defined(__i386__)
static bool cpu_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool cpu_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#else
static bool cpu_avx2(void)
{
	return false;
}

static bool cpu_avx512(void)
{
	return false;
}
#endif

static const struct {
	const char *isa, *lacking;
	const kernel_table *(*table)(void);
	bool (*cpu)(void);
} choices[] = {
	{"scalar", "", kernels_scalar, cpu_any},
	{"avx2", "this CPU lacks avx2 or fma", kernels_avx2, cpu_avx2},
	{"avx512", "this CPU lacks one of avx512f, bw, vl, dq", kernels_avx512, cpu_avx512},
};

#define CHOICE_COUNT (sizeof choices / sizeof choices[0])

static const kernel_table *refuse(const char **why, const char *reason)
{
	if (why)
		*why = reason;
	return NULL;
}

const kernel_table *kernels_find(const char *isa, const char **why)
{
	for (uint32_t i = 0; i < CHOICE_COUNT; i++) {
		if (strcmp(choices[i].isa, isa) != 0)
			continue;
		if (!choices[i].table())
			return refuse(why, "this build has no kernels for it");
		if (!choices[i].cpu())
			return refuse(why, choices[i].lacking);
		return choices[i].table();
	}
	return refuse(why, "unknown name, expected scalar, avx2 or avx512");
}

const kernel_table *kernels_best(void)
{
	const char *asked = getenv("UFM_KERNELS");
	const char *why = NULL;
	const kernel_table *table = asked && *asked ? kernels_find(asked, &why) : NULL;

	for (uint32_t i = CHOICE_COUNT; !table && i > 0; i--)
		table = kernels_find(choices[i - 1].isa, NULL);
	assert(table); /* scalar runs everywhere */
	if (why)
		log_warn("UFM_KERNELS=%s: %s; using %s", asked, why, table->isa);
	return table;
}

const char *kernels_name(uint32_t index)
{
	return index < CHOICE_COUNT ? choices[index].isa : NULL;
}
