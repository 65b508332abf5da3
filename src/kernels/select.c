/* SPDX-License-Identifier: MIT */
/* Which table this CPU and this build can use. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/log.h"
#include "kernels/kernels_int.h"

static const char *any(void)
{
	return NULL;
}

#if defined(__x86_64__) || defined(__i386__)
static bool cpu_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
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

static const char *lacks_avx2(void)
{
	return cpu_avx2() ? NULL : "this CPU lacks avx2, fma or f16c";
}

static const char *lacks_avx512(void)
{
	return cpu_avx512() ? NULL : "this CPU lacks one of avx512f, bw, vl, dq";
}

static const char *lacks_amx(void)
{
	if (!cpu_has_amx_bf16())
		return "this CPU lacks amx-bf16 or amx-tile";
	if (!cpu_avx512())
		return lacks_avx512();
	return cpu_allow_amx() ? NULL : "the kernel refuses AMX state";
}

static const struct {
	const char *isa;
	const kernel_table *(*table)(void);
	const char *(*lacking)(void); /* NULL: nothing */
} choices[] = {
	{"scalar", kernels_scalar, any},
	{"avx2", kernels_avx2, lacks_avx2},
	{"avx512", kernels_avx512, lacks_avx512},
	{"amx", kernels_amx, lacks_amx},
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
		const char *lacking = choices[i].lacking();
		return lacking ? refuse(why, lacking) : choices[i].table();
	}
	return refuse(why, "unknown name, expected scalar, avx2, avx512 or amx");
}

/* What the environment asks for, or NULL; then *why, if it cannot be had. */
static const kernel_table *asked_for(const char **asked, const char **why)
{
	*asked = getenv("UFM_KERNELS");
	return *asked && **asked ? kernels_find(*asked, why) : NULL;
}

static const kernel_table *last_usable(void)
{
	const kernel_table *table = NULL;

	for (uint32_t i = CHOICE_COUNT; !table && i > 0; i--)
		table = kernels_find(choices[i - 1].isa, NULL);
	assert(table); /* scalar runs everywhere */
	return table;
}

const kernel_table *kernels_best(void)
{
	const char *asked, *why = NULL;
	const kernel_table *table = asked_for(&asked, &why);

	if (!table)
		table = last_usable();
	if (why)
		log_warn("UFM_KERNELS=%s: %s; using %s", asked, why, table->isa);
	return table;
}

const kernel_table *kernels_best_few(void)
{
	const char *asked, *why = NULL;
	const kernel_table *table = asked_for(&asked, &why);

	if (table)
		return table;
	table = last_usable();
	return table == kernels_amx() ? kernels_avx512() : table;
}

const char *kernels_name(uint32_t index)
{
	return index < CHOICE_COUNT ? choices[index].isa : NULL;
}
