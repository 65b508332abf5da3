/* SPDX-License-Identifier: MIT */
/* The formats of checkpoints, asked in this order. */
#include "bank/bank.h"
#include "bank/checkpoint_int.h"

static const checkpoint_format formats[] = {
	{"safetensors", safetensors_match_name, safetensors_open},
	{"gguf", gguf_match, gguf_open},
	{"safetensors", safetensors_match_folder, safetensors_open},
};

const checkpoint_format *checkpoint_format_of(const char *path)
{
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		if (formats[i].match(path))
			return &formats[i];
	}
	return NULL;
}

bool bank_is_checkpoint(const char *path)
{
	return checkpoint_format_of(path) != NULL;
}
