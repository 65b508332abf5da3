/* SPDX-License-Identifier: MIT */
/* Parameters found by search for the figures of real routers; docs/results/sticky-calibration says how
 * near they come. */
#include <string.h>

#include "trace/sticky.h"

static const struct {
	const char *name;
	sticky_config config;
} presets[] = {
	{"gpt-oss-20b",
     {.tokens = 24000,
      .sequences = 77,
      .layers = 24,
      .experts = 32,
      .top_k = 4,
      .overlap = 0.436,
      .skew = 0.36,
      .drift = 0.115,
      .echo = 0.24,
      .spread = 0.08}},
	{"olmoe-1b-7b",
     {.tokens = 7200,
      .sequences = 24,
      .layers = 16,
      .experts = 64,
      .top_k = 8,
      .overlap = 0.403,
      .skew = 0.35,
      .drift = 0.15,
      .echo = 0.4,
      .spread = 0.08}},
	{"qwen3-30b-a3b",
     {.tokens = 4800,
      .sequences = 16,
      .layers = 48,
      .experts = 128,
      .top_k = 8,
      .overlap = 0.45,
      .skew = 0.749,
      .drift = 0.065,
      .echo = 0.405,
      .spread = 0.1}},
	{"512-top-10",
     {.tokens = 200,
      .sequences = 1,
      .layers = 48,
      .experts = 512,
      .top_k = 10,
      .overlap = 0.215,
      .skew = 0.5,
      .drift = 0.033,
      .echo = 0.524}},
};

bool sticky_preset(const char *name, sticky_config *out)
{
	for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
		if (strcmp(presets[i].name, name) == 0) {
			*out = presets[i].config;
			return true;
		}
	}
	return false;
}

const char *sticky_preset_name(uint32_t index)
{
	return index < sizeof presets / sizeof presets[0] ? presets[index].name : NULL;
}
