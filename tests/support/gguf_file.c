/* SPDX-License-Identifier: MIT */
/* Spells GGUF headers out of words. */
#include "support/gguf_file.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "checkpoint/gguf.h"

enum { HEADER_BYTES_MAX = 1 << 16 };

static void require(bool truth, const char *what)
{
	if (!truth) {
		fprintf(stderr, "gguf_file: %s\n", what);
		abort();
	}
}

typedef struct writer {
	uint8_t *out;
	size_t used, room;
} writer;

static void put(writer *w, uint64_t value, size_t bytes)
{
	require(w->used + bytes <= w->room, "no room");
	for (size_t i = 0; i < bytes; i++)
		w->out[w->used++] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(writer *w, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		put(w, (uint8_t)text[i], 1);
}

static void put_hex(writer *w, const char *text, size_t length)
{
	for (size_t i = 0; i + 1 < length; i += 2) {
		char pair[3] = {text[i], text[i + 1], '\0'};
		put(w, strtoull(pair, NULL, 16), 1);
	}
}

static void put_word(writer *w, const char *word, size_t length)
{
	if (length == 1 && word[0] == 'G') {
		put_bytes(w, "GGUF", 4);
		return;
	}
	require(length >= 2 && word[1] == ':', word);
	switch (word[0]) {
	case 's':
		put(w, length - 2, 8);
		put_bytes(w, word + 2, length - 2);
		return;
	case 'b':
		put_bytes(w, word + 2, length - 2);
		return;
	case 'x':
		put_hex(w, word + 2, length - 2);
		return;
	default:
		put(w, strtoull(word + 2, NULL, 0), (size_t)(word[0] - '0'));
	}
}

size_t gguf_spell(const char *words, uint8_t *out, size_t room)
{
	writer w = {.out = out, .room = room};

	while (*words) {
		size_t length = strcspn(words, " ");

		if (length)
			put_word(&w, words, length);
		words += length + (words[length] == ' ');
	}
	return w.used;
}

uint64_t gguf_file_write(const char *folder, const char *name, const char *words,
                         uint64_t payload_bytes, uint64_t seed)
{
	static uint8_t header[HEADER_BYTES_MAX];
	char path[512];
	size_t used = gguf_spell(words, header, sizeof header), at = (used + 31) / 32 * 32;
	FILE *file;
	rng r;

	memset(header + used, 0, at - used);
	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "wb");
	require(file != NULL, path);
	require(fwrite(header, 1, at, file) == at, path);
	rng_seed(&r, seed);
	for (uint64_t i = 0; i < payload_bytes; i++)
		require(fputc((int)rng_below(&r, 256), file) != EOF, path);
	require(fclose(file) == 0, path);
	return at;
}

/* ---- a model, tensor by tensor */

static void append(char *text, size_t room, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void append(char *text, size_t room, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	require((size_t)vsnprintf(text + used, room - used, format, args) < room - used, "no room");
	va_end(args);
}

void gguf_add_u32(gguf_words *w, const char *key, uint32_t value)
{
	append(w->keys, sizeof w->keys, " s:%s 4:4 4:%u", key, value);
	w->key_count++;
}

void gguf_add_text(gguf_words *w, const char *key, const char *value)
{
	append(w->keys, sizeof w->keys, " s:%s 4:8 s:%s", key, value);
	w->key_count++;
}

void gguf_add_tensor(gguf_words *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows,
                     uint64_t count)
{
	const gguf_type *t = gguf_type_find(type);
	const uint64_t sizes[] = {cols, rows, count};
	uint32_t rank = rows ? count ? 3 : 2 : 1;
	uint64_t bytes = cols / t->elements * t->bytes * (rows ? rows : 1) * (count ? count : 1);

	append(w->tensors, sizeof w->tensors, " s:%s 4:%u", name, rank);
	for (uint32_t i = 0; i < rank; i++)
		append(w->tensors, sizeof w->tensors, " 8:%llu", (unsigned long long)sizes[i]);
	append(w->tensors, sizeof w->tensors, " 4:%u 8:%llu", type,
	       (unsigned long long)w->payload_bytes);
	w->payload_bytes += (bytes + 31) / 32 * 32;
	w->tensor_count++;
}

void gguf_add_layer(gguf_words *w, uint32_t number, uint32_t gate_up_type, uint32_t down_type,
                    uint32_t d_model, uint32_t d_hidden, uint32_t count)
{
	char name[64];

	snprintf(name, sizeof name, "blk.%u.ffn_gate_exps.weight", number);
	gguf_add_tensor(w, name, gate_up_type, d_model, d_hidden, count);
	snprintf(name, sizeof name, "blk.%u.ffn_up_exps.weight", number);
	gguf_add_tensor(w, name, gate_up_type, d_model, d_hidden, count);
	snprintf(name, sizeof name, "blk.%u.ffn_down_exps.weight", number);
	gguf_add_tensor(w, name, down_type, d_hidden, d_model, count);
	snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", number);
	gguf_add_tensor(w, name, 0, d_model, count, 0);
}

uint64_t gguf_words_write(const gguf_words *w, const char *folder, const char *name, uint64_t seed)
{
	static char text[sizeof w->keys + sizeof w->tensors + 64];

	snprintf(text, sizeof text, "G 4:3 8:%u 8:%u%s%s", w->tensor_count, w->key_count, w->keys,
	         w->tensors);
	return gguf_file_write(folder, name, text, w->payload_bytes, seed);
}
