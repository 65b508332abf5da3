/* SPDX-License-Identifier: MIT */
/* Feeds files to a fuzz target, so that its corpus is a test in every build. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

enum { INPUT_BYTES_MAX = 1 << 20 };

/* The copy has exactly the file's size, so that a read past the end is seen by a sanitizer. */
static uint8_t *input_read(const char *path, size_t *size_bytes)
{
	uint8_t *data = NULL;
	FILE *file = fopen(path, "rb");
	if (file == NULL)
		return NULL;
	if (fseek(file, 0, SEEK_END) != 0)
		goto close;
	const long end = ftell(file);
	if (end < 0 || end > INPUT_BYTES_MAX || fseek(file, 0, SEEK_SET) != 0)
		goto close;
	*size_bytes = (size_t)end;
	data = malloc(end > 0 ? (size_t)end : 1);
	if (data != NULL && fread(data, 1, *size_bytes, file) != *size_bytes) {
		free(data);
		data = NULL;
	}
close:
	fclose(file);
	return data;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t size_bytes = 0;
		uint8_t *data = input_read(argv[i], &size_bytes);
		if (data == NULL) {
			fprintf(stderr, "%s: cannot be read, or larger than 1 MiB\n", argv[i]);
			return 1;
		}
		/* Named before the run: after a crash the last line tells which input it was. */
		fprintf(stderr, "%s\n", argv[i]);
		LLVMFuzzerTestOneInput(data, size_bytes);
		free(data);
	}
	return 0;
}
