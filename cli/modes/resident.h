/* SPDX-License-Identifier: MIT */
/* The baseline's start: every expert on the device before the first step. */
#ifndef CLI_MODES_RESIDENT_H
#define CLI_MODES_RESIDENT_H

#include <ufm/ufm.h>

/* Loads every expert of every layer by hints and waits for the copies. */
ufm_status resident_load_all(ufm_engine *engine, const ufm_bank_info *bank);

#endif
