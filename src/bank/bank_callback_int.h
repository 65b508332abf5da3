/* SPDX-License-Identifier: MIT */
/* What a bank with the caller's function adds to a bank. */
#ifndef UFM_BANK_BANK_CALLBACK_INT_H
#define UFM_BANK_BANK_CALLBACK_INT_H

#include "bank/bank_int.h"

/* bank_extents of such a bank: gaps first, so that the function need not write them. */
uint32_t bank_callback_extents(const ufm_bank *bank, bank_extent out[BANK_EXTENTS_MAX]);
/* Tells the caller, when any bank's last reference goes. */
void bank_callback_close(const ufm_bank *bank);

#endif
