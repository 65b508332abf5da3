/* SPDX-License-Identifier: MIT */
/* What a bank from the caller's extents adds to a bank. */
#ifndef UFM_BANK_BANK_FILES_INT_H
#define UFM_BANK_BANK_FILES_INT_H

#include "bank/bank_int.h"

void bank_files_free(bank_files *files); /* NULL is allowed */
uint32_t bank_files_count(const bank_files *files);
const char *bank_files_path(const bank_files *files, uint32_t file);
/* bank_extents of such a bank. */
uint32_t bank_files_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX]);

#endif
