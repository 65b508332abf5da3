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
      .skew = 1.3,
      .drift = 0.012,
      .echo = 0.28,
      .spread = 0.07}},
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
     {.tokens = 256,
      .sequences = 1,
      .layers = 48,
      .experts = 512,
      .top_k = 10,
      .overlap = 0.224,
      .skew = 0.147,
      .drift = 0.021,
      .echo = 0.553}},
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
