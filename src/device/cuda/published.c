/* SPDX-License-Identifier: MIT */
/* What the vendor publishes for a device: dense figures of its data sheets and architecture papers (those with
 * sparsity halved), products of tensor cores with sums in f32. */
#include "device/cuda/published.h"

#include <stdbool.h>
#include <string.h>

#define PEAKS(fp32, tf32, bf16) \
	{ \
		[PEAK_FP32] = (fp32), [PEAK_TF32] = (tf32), [PEAK_BF16] = (bf16) \
	}

/* The first whose words are all in the name: special ones before the plain. */
static const published_peak table[] = {
	{"A100", PEAKS(19.5, 156, 312)},
	{"A800", PEAKS(19.5, 156, 312)},
	{"A30", PEAKS(10.3, 82, 165)},
	{"A40", PEAKS(37.4, 74.8, 149.7)},
	{"A10", PEAKS(31.2, 62.5, 125)},
	{"H100 PCIe", PEAKS(51, 378, 756)},
	{"H100 NVL", PEAKS(60, 417.5, 835.5)},
	{"H100", PEAKS(67, 494.5, 989.5)},
	{"H800 PCIe", PEAKS(51, 378, 756)},
	{"H800", PEAKS(67, 494.5, 989.5)},
	{"H200 NVL", PEAKS(60, 417.5, 835.5)},
	{"H200", PEAKS(67, 494.5, 989.5)},
	{"GH200", PEAKS(67, 494.5, 989.5)},
	{"B200", PEAKS(75, 1125, 2250)},
	{"L40S", PEAKS(91.6, 183, 362)},
	{"L40", PEAKS(90.5, 90.5, 181)},
	{"L4", PEAKS(30.3, 60, 121)},
	{"RTX 6000 Ada", PEAKS(91.1, 182.1, 364.2)},
	{"RTX 3090", PEAKS(35.6, 35.6, 71)},
	{"RTX 4090", PEAKS(82.6, 82.6, 165.2)},
	{"RTX 5090", PEAKS(104.8, 104.8, 209.5)},
};

/* As a word: A10 is in neither A100 nor A10G. What follows may be " 80GB" or "-SXM4". */
static bool has_word(const char *name, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = strstr(name, word); at; at = strstr(at + 1, word)) {
		char after = at[length];
		bool begins = at == name || at[-1] == ' ';
		if (begins && (after == '\0' || after == ' ' || after == '-'))
			return true;
	}
	return false;
}

/* Of the same name, with other clocks or fewer units. */
static bool is_other(const char *name)
{
	return strstr(name, "Laptop") || strstr(name, "Ti") || has_word(name, "D") ||
	       has_word(name, "MIG") || has_word(name, "vGPU");
}

const published_peak *published_find(const char *device_name)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0] && !is_other(device_name); i++)
		if (has_word(device_name, table[i].part))
			return &table[i];
	return NULL;
}
