/* SPDX-License-Identifier: MIT */
/* cpuid, and the permission for a state that threads do not have from birth. */
#include "base/cpu.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of the first leaf, in ecx. */
#define F16C (1u << 29)

bool cpu_has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & F16C);
}

/* Of the feature leaf, in edx. */
#define AMX_BF16 (1u << 22)
#define AMX_TILE (1u << 24)

bool cpu_has_amx_bf16(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return false;
	return (d & AMX_BF16) && (d & AMX_TILE);
}

/* From asm/prctl.h of Linux 5.16, which older headers lack. */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

bool cpu_allow_amx(void)
{
	return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* In ebx of the same leaf. */
#define CLFLUSHOPT (1u << 23)
#define LINE_BYTES 64u

bool cpu_has_flush(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & CLFLUSHOPT);
}

__attribute__((target("clflushopt"))) void cpu_flush(const void *memory, size_t size_bytes)
{
	const char *at = memory;

	for (size_t i = 0; i < size_bytes; i += LINE_BYTES)
		_mm_clflushopt((void *)(uintptr_t)(at + i));
	_mm_sfence();
}

#else

bool cpu_has_flush(void)
{
	return false;
}

void cpu_flush(const void *memory, size_t size_bytes)
{
	(void)memory;
	(void)size_bytes;
}

bool cpu_has_f16c(void)
{
	return false;
}

bool cpu_has_amx_bf16(void)
{
	return false;
}

bool cpu_allow_amx(void)
{
	return false;
}

#endif
