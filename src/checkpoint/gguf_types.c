/* SPDX-License-Identifier: MIT */
/* The types that tensors of GGUF files may have. */
#include "checkpoint/gguf.h"

#define OWN(number_, name_, elements_, bytes_, format_) \
	{ \
		.number = (number_), .name = (name_), .elements = (elements_), .bytes = (bytes_), \
		.dtype = (checkpoint_dtype)(CHECKPOINT_GGUF + (number_)), .format = (format_) \
	}
#define SHARED(number_, name_, bytes_) \
	{ \
		.number = (number_), .name = #name_, .elements = 1, .bytes = (bytes_), \
		.dtype = CHECKPOINT_##name_, .format = UFM_FORMAT_PLAIN \
	}

static const gguf_type types[] = {
	SHARED(0, F32, 4),
	SHARED(1, F16, 2),
	OWN(2, "Q4_0", 32, 18, UFM_FORMAT_Q4_0),
	OWN(3, "Q4_1", 32, 20, UFM_FORMAT_PLAIN),
	OWN(6, "Q5_0", 32, 22, UFM_FORMAT_Q5_0),
	OWN(7, "Q5_1", 32, 24, UFM_FORMAT_PLAIN),
	OWN(8, "Q8_0", 32, 34, UFM_FORMAT_Q8_0),
	OWN(9, "Q8_1", 32, 40, UFM_FORMAT_PLAIN),
	OWN(10, "Q2_K", 256, 84, UFM_FORMAT_PLAIN),
	OWN(11, "Q3_K", 256, 110, UFM_FORMAT_PLAIN),
	OWN(12, "Q4_K", 256, 144, UFM_FORMAT_Q4_K),
	OWN(13, "Q5_K", 256, 176, UFM_FORMAT_Q5_K),
	OWN(14, "Q6_K", 256, 210, UFM_FORMAT_Q6_K),
	OWN(15, "Q8_K", 256, 292, UFM_FORMAT_PLAIN),
	OWN(16, "IQ2_XXS", 256, 66, UFM_FORMAT_PLAIN),
	OWN(17, "IQ2_XS", 256, 74, UFM_FORMAT_PLAIN),
	OWN(18, "IQ3_XXS", 256, 98, UFM_FORMAT_PLAIN),
	OWN(19, "IQ1_S", 256, 50, UFM_FORMAT_PLAIN),
	OWN(20, "IQ4_NL", 32, 18, UFM_FORMAT_IQ4_NL),
	OWN(21, "IQ3_S", 256, 110, UFM_FORMAT_PLAIN),
	OWN(22, "IQ2_S", 256, 82, UFM_FORMAT_PLAIN),
	OWN(23, "IQ4_XS", 256, 136, UFM_FORMAT_IQ4_XS),
	SHARED(24, I8, 1),
	SHARED(25, I16, 2),
	SHARED(26, I32, 4),
	SHARED(27, I64, 8),
	SHARED(28, F64, 8),
	OWN(29, "IQ1_M", 256, 56, UFM_FORMAT_PLAIN),
	SHARED(30, BF16, 2),
	OWN(34, "TQ1_0", 256, 54, UFM_FORMAT_PLAIN),
	OWN(35, "TQ2_0", 256, 66, UFM_FORMAT_PLAIN),
	OWN(39, "MXFP4", 32, 17, UFM_FORMAT_MXFP4),
	OWN(40, "NVFP4", 64, 36, UFM_FORMAT_PLAIN),
	OWN(41, "Q1_0", 128, 18, UFM_FORMAT_PLAIN),
};

const gguf_type *gguf_type_find(uint32_t number)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (types[i].number == number)
			return &types[i];
	}
	return NULL;
}

const gguf_type *gguf_type_of(checkpoint_dtype dtype)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (types[i].dtype == dtype)
			return &types[i];
	}
	return NULL;
}
