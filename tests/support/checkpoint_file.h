/* SPDX-License-Identifier: MIT */
/* Writes checkpoints for tests: .safetensors files with random payload, and whatever else lies beside
 * them. Failures end the program. */
#ifndef UFM_TESTS_CHECKPOINT_FILE_H
#define UFM_TESTS_CHECKPOINT_FILE_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_tensor {
	const char *name, *dtype;
	uint32_t rank;
	uint64_t shape[3];
	/* set by checkpoint_file_write: where its bytes lie */
	uint64_t offset_bytes, size_bytes;
} test_tensor;

/* A folder under /tmp, and its removal with the files in it. */
void checkpoint_folder_make(char folder[64]);
void checkpoint_folder_remove(const char *folder);

/* cmocka's setup and teardown of a case with a folder of its own. */
extern char case_folder[64];
int case_folder_make(void **state);
int case_folder_remove(void **state);

/* Writes `folder/name`. */
void checkpoint_text_write(const char *folder, const char *name, const char *text);
/* Writes tensors one behind the other, their bytes drawn from the seed. */
void checkpoint_file_write(const char *folder, const char *name, test_tensor *tensors,
                           uint32_t count, uint64_t seed);
/* `size_bytes` bytes of `folder/name` from an offset on. */
void checkpoint_file_read(const char *folder, const char *name, uint64_t offset_bytes, void *out,
                          uint64_t size_bytes);

#endif
