/* SPDX-License-Identifier: MIT */
/* Spells GGUF headers out of words. */
#include "support/gguf_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

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
