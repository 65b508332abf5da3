/* SPDX-License-Identifier: MIT */
/* Writes checkpoints for tests. */
#include "support/checkpoint_file.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"

enum { HEADER_BYTES_MAX = 1 << 20, PATH_BYTES = 512 };

static void require(bool truth, const char *what)
{
	if (!truth) {
		perror(what);
		abort();
	}
}

void checkpoint_folder_make(char folder[64])
{
	strcpy(folder, "/tmp/ufm_test_checkpoint_XXXXXX");
	require(mkdtemp(folder) != NULL, folder);
}

void checkpoint_folder_remove(const char *folder)
{
	char path[PATH_BYTES];
	DIR *open_folder = opendir(folder);
	struct dirent *entry;

	require(open_folder != NULL, folder);
	while ((entry = readdir(open_folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		require(unlink(path) == 0, path);
	}
	closedir(open_folder);
	require(rmdir(folder) == 0, folder);
}

char case_folder[64];

int case_folder_make(void **state)
{
	(void)state;
	checkpoint_folder_make(case_folder);
	return 0;
}

int case_folder_remove(void **state)
{
	(void)state;
	checkpoint_folder_remove(case_folder);
	return 0;
}

static FILE *open_at(const char *folder, const char *name, const char *mode)
{
	char path[PATH_BYTES];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, mode);
	require(file != NULL, path);
	return file;
}

void checkpoint_text_write(const char *folder, const char *name, const char *text)
{
	FILE *file = open_at(folder, name, "wb");

	require(fputs(text, file) >= 0 && fclose(file) == 0, name);
}

static uint64_t element_bytes(const char *dtype)
{
	return strstr(dtype, "64") ? 8 : strstr(dtype, "32") ? 4 : strstr(dtype, "16") ? 2 : 1;
}

static size_t print_tensor(char *text, size_t room, test_tensor *t, uint64_t at)
{
	int used = snprintf(text, room, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, t->dtype);

	t->size_bytes = element_bytes(t->dtype);
	for (uint32_t i = 0; i < t->rank; i++) {
		t->size_bytes *= t->shape[i];
		used += snprintf(text + used, room - (size_t)used, "%s%llu", i ? "," : "",
		                 (unsigned long long)t->shape[i]);
	}
	used += snprintf(text + used, room - (size_t)used, "],\"data_offsets\":[%llu,%llu]}",
	                 (unsigned long long)at, (unsigned long long)(at + t->size_bytes));
	t->offset_bytes = at;
	return (size_t)used;
}

/* Halves and floats of any bits, but no signalling NaN, which a conversion may quieten. */
static void write_payload(FILE *file, const test_tensor *t, rng *r)
{
	bool half = strcmp(t->dtype, "F16") == 0;

	for (uint64_t i = 0; i < t->size_bytes; i++) {
		uint8_t byte = (uint8_t)rng_below(r, 256);

		if (half && i % 2 && (byte & 0x7c) == 0x7c)
			byte ^= 0x40;
		require(fputc(byte, file) != EOF, t->name);
	}
}

void checkpoint_file_write(const char *folder, const char *name, test_tensor *tensors,
                           uint32_t count, uint64_t seed)
{
	char *header = malloc(HEADER_BYTES_MAX);
	size_t used = 1;
	uint64_t at = 0;
	FILE *file = open_at(folder, name, "wb");
	rng r;

	require(header != NULL, name);
	header[0] = '{';
	for (uint32_t i = 0; i < count; i++) {
		if (i)
			header[used++] = ',';
		used += print_tensor(header + used, HEADER_BYTES_MAX - used, &tensors[i], at);
		at += tensors[i].size_bytes;
	}
	header[used++] = '}';
	for (int i = 0; i < 8; i++)
		require(fputc((int)((uint64_t)used >> (8 * i) & 0xff), file) != EOF, name);
	require(fwrite(header, 1, used, file) == used, name);
	rng_seed(&r, seed);
	for (uint32_t i = 0; i < count; i++) {
		tensors[i].offset_bytes += 8 + used;
		write_payload(file, &tensors[i], &r);
	}
	require(fclose(file) == 0, name);
	free(header);
}

void checkpoint_file_read(const char *folder, const char *name, uint64_t offset_bytes, void *out,
                          uint64_t size_bytes)
{
	FILE *file = open_at(folder, name, "rb");

	require(fseek(file, (long)offset_bytes, SEEK_SET) == 0, name);
	require(fread(out, 1, size_bytes, file) == size_bytes, name);
	fclose(file);
}
