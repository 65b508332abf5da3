/* SPDX-License-Identifier: MIT */
/* Experts in files in the layouts in which checkpoints are published, and where their parts lie there. */
#ifndef UFM_TESTS_FILES_BANK_H
#define UFM_TESTS_FILES_BANK_H

#include <ufm/ufm.h>

typedef enum files_layout {
	FILES_ROWS,        /* gate, then up; strides are left out */
	FILES_SLICES,      /* the same as slices of one tensor */
	FILES_SECOND_ROWS, /* rows of gate and up in turn; the last that parts with a format may have */
	FILES_TRANSPOSED,  /* columns of gate, then of up, in each row */
	FILES_SECOND_COLS, /* columns of gate and up in turn */
	FILES_LAYOUTS,
} files_layout;

#define FILES_COUNT 2
#define FILES_EXTENTS_MAX 96

/* The parts of down lie in the second file, all others in the first, behind `lead_bytes` of anything. */
typedef struct files_bank {
	uint32_t layers, experts;
	ufm_expert_desc desc;
	files_layout layout;
	ufm_dtype from; /* of plain parts; those in F16 lie there as F16 */
	uint64_t lead_bytes;
	/* set by files_bank_make */
	ufm_extent extents[FILES_EXTENTS_MAX];
	char paths[FILES_COUNT][96];
	const char *path_list[FILES_COUNT];
	uint64_t size_bytes;          /* of each file */
	uint8_t *images[FILES_COUNT]; /* what files_bank_write writes; random from the seed */
} files_bank;

void files_bank_make(files_bank *b, uint64_t seed);
void files_bank_write(files_bank *b, const char *folder);
void files_bank_free(files_bank *b);
/* The configuration of a bank of it; points into `b`. */
ufm_bank_files_config files_bank_config(files_bank *b);

/* What a block must be: part by part, element by element, zero between them. */
void files_bank_expect(const files_bank *b, uint32_t key, uint8_t *block);
/* Puts a block's parts where the extents say; its dtype is that of the files. */
void files_bank_put(files_bank *b, uint32_t key, const uint8_t *block);

#endif
