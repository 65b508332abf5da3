/* SPDX-License-Identifier: MIT */
/* The header of one GGUF file: its key-values and its tensors. Pure: checks everything that it claims, also against
 * the size of the file that it came from; never reads payload. docs/formats.md has the rules. */
#ifndef UFM_CHECKPOINT_GGUF_H
#define UFM_CHECKPOINT_GGUF_H

#include <stdbool.h>

#include "checkpoint/safetensors.h"

#define GGUF_MAGIC "GGUF"
#define GGUF_HEADER_BYTES_MAX 100000000u
#define GGUF_KEYS_MAX (1u << 16)

/* ---- types of tensors */

/* A type by its number in the file. Types of .safetensors have their dtype there; all others have one of their own. */
typedef struct gguf_type {
	uint32_t number;
	const char *name;
	uint32_t elements, bytes; /* of a block */
	checkpoint_dtype dtype;
	ufm_format format; /* UFM_FORMAT_PLAIN: plain, or one that is not computed with */
} gguf_type;

/* NULL: no such type. */
const gguf_type *gguf_type_find(uint32_t number);
/* Of a dtype that a file's tensor has; never NULL for that. */
const gguf_type *gguf_type_of(checkpoint_dtype dtype);

/* ---- key-values */

typedef enum gguf_kind { GGUF_NUMBER = 1, GGUF_BOOL, GGUF_TEXT, GGUF_ARRAY } gguf_kind;

/* What is said under a key. Of an array of numbers or truths the extremes, of any other nothing but its length. */
typedef struct gguf_value {
	const char *key;
	gguf_kind kind;
	uint64_t count;   /* of an array; 1 for all else */
	bool is_measured; /* low and high are known */
	double low, high; /* equal for a number; a truth is 0 or 1 */
	const char *
		text; /* NULL when it is longer than is kept, or holds a NUL; NUL-terminated once the header is parsed */
	uint64_t text_bytes;
} gguf_value;

typedef struct gguf_values {
	gguf_value *items; /* sorted by key, each once */
	uint32_t count, room;
} gguf_values;

/* NULL when nothing is said. */
const gguf_value *gguf_find(const gguf_values *values, const char *key);
/* "8"; "an array of 3", … for messages; cut at `size`. */
const char *gguf_value_words(const gguf_value *v, char *text, size_t size);
/* The whole number in [least, most] that is said, or false. */
bool gguf_value_whole(const gguf_value *v, uint32_t least, uint32_t most, uint32_t *out);

/* ---- a header */

typedef struct gguf_header {
	gguf_values values;
	char *text; /* keys, texts and tensors' names point into it */
	uint64_t header_bytes;
	uint32_t alignment;
} gguf_header;

void gguf_header_free(gguf_header *header);

/*
 * Parses a file's first `got` bytes and appends its tensors, sorted by offset, to `list` as file number `file`; shapes
 * are turned round, so that the last dimension is the one whose elements lie side by side. Names point into
 * out->text. On failure the list keeps what it had. UFM_EFORMAT names the rule; *more is true when the header
 * goes on behind `got`, which is not said of a whole file (got = file_bytes).
 */
ufm_status gguf_parse(const uint8_t *bytes, uint64_t got, uint64_t file_bytes, uint32_t file,
                      tensor_list *list, gguf_header *out, bool *more);

#endif
