/* SPDX-License-Identifier: MIT */
/* What the parts of the GGUF reader share: a place in the header's bytes. */
#ifndef UFM_BANK_GGUF_INT_H
#define UFM_BANK_GGUF_INT_H

#include "bank/gguf.h"

#define GGUF_ENDING ".gguf"
#define GGUF_TEXT_BYTES_MAX 255u
#define GGUF_ARRAY_DEPTH_MAX 4u

typedef struct gguf_reader {
	const uint8_t *bytes;
	uint64_t at, got, file_bytes;
	bool more; /* what is wanted lies behind `got`, in the file */
} gguf_reader;

/* Bytes in the header that are a string's; not NUL-terminated. */
typedef struct gguf_slice {
	const uint8_t *at;
	uint64_t bytes;
} gguf_slice;

/* A little-endian number of 1 … 8 bytes. */
uint64_t gguf_load(const uint8_t *at, unsigned bytes);
/* Each takes what is next, or fails with UFM_EFORMAT. */
ufm_status gguf_take(gguf_reader *r, uint64_t bytes, const uint8_t **out);
ufm_status gguf_take_u32(gguf_reader *r, uint32_t *out);
ufm_status gguf_take_u64(gguf_reader *r, uint64_t *out);
/* Of least … most bytes. */
ufm_status gguf_take_string(gguf_reader *r, uint64_t least, uint64_t most, gguf_slice *out);
/* So, of UTF-8 without a NUL; `what` is "key". */
ufm_status gguf_take_name(gguf_reader *r, uint64_t most, const char *what, gguf_slice *out);
/* UFM_EFORMAT unless the file has so many bytes from here on, and a header may be as long as that. */
ufm_status gguf_check_room(const gguf_reader *r, uint64_t bytes);
/* How many bytes the file has from here on. */
uint64_t gguf_left(const gguf_reader *r);

/* The length of a string that stands in the header, by the eight bytes before it. */
uint64_t gguf_string_bytes(const char *in_header);

/* All key-values. Keys and texts point into the header's bytes until gguf_values_settle. */
ufm_status gguf_read_values(gguf_reader *r, uint64_t count, gguf_values *out);
/* How many bytes gguf_values_settle writes. */
uint64_t gguf_values_text_bytes(const gguf_values *values);
/* Copies keys and texts to `text`, sorts by key; UFM_EFORMAT when one stands twice. Moves *text behind what it wrote. */
ufm_status gguf_values_settle(gguf_values *values, char **text);
/* A string of the header to *text, NUL-terminated, which moves behind it. */
const char *gguf_keep_string(const char *in_header, char **text);

/* Where "-00001-of-00003.gguf" begins in a name that ends so; NULL when it does not. */
const char *gguf_split_tail(const char *path);

#endif
