/* SPDX-License-Identifier: MIT */
/* Writes GGUF files for tests, right or wrong, from words. Failures end the program. */
#ifndef UFM_TESTS_GGUF_FILE_H
#define UFM_TESTS_GGUF_FILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Words, each a space apart: "G" is the magic, "1:7", "2:7", "4:7" and "8:7" a number of so many bytes, "s:text" a string
 * with its length before it, "b:text" a string's bytes alone, "x:ff00" any bytes. The numbers may be hexadecimal.
 */
size_t gguf_spell(const char *words, uint8_t *out, size_t room);

/* The counts of tensors and of key-values, version 3. */
#define GGUF_HEAD(tensors, keys) "G 4:3 8:" #tensors " 8:" #keys
#define GGUF_U32(key, value) " s:" key " 4:4 4:" #value
#define GGUF_TEXT(key, value) " s:" key " 4:8 s:" value
/* Of one, two and three dimensions, the one first whose elements lie side by side. */
#define GGUF_ROW(name, cols, type, at) " s:" name " 4:1 8:" #cols " 4:" #type " 8:" #at
#define GGUF_MATRIX(name, cols, rows, type, at) \
	" s:" name " 4:2 8:" #cols " 8:" #rows " 4:" #type " 8:" #at
#define GGUF_STACK(name, cols, rows, count, type, at) \
	" s:" name " 4:3 8:" #cols " 8:" #rows " 8:" #count " 4:" #type " 8:" #at

/* Writes `folder/name`: the words, zeros up to a multiple of 32 bytes, and a payload drawn from the seed. Gives where the
 * payload begins. */
uint64_t gguf_file_write(const char *folder, const char *name, const char *words,
                         uint64_t payload_bytes, uint64_t seed);

/* ---- a model, tensor by tensor */

typedef struct gguf_words {
	char keys[4096], tensors[16384];
	uint32_t key_count, tensor_count;
	uint64_t payload_bytes;
} gguf_words;

void gguf_add_u32(gguf_words *w, const char *key, uint32_t value);
void gguf_add_text(gguf_words *w, const char *key, const char *value);
/* Behind the one before it; rows and count 0: there is no such dimension. `type` is the file's number. */
void gguf_add_tensor(gguf_words *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows,
                     uint64_t count);
/* Gate, up and down of a layer, [count] experts each in one tensor, and its router. */
void gguf_add_layer(gguf_words *w, uint32_t number, uint32_t gate_up_type, uint32_t down_type,
                    uint32_t d_model, uint32_t d_hidden, uint32_t count);
/* As gguf_file_write. */
uint64_t gguf_words_write(const gguf_words *w, const char *folder, const char *name, uint64_t seed);

#endif
