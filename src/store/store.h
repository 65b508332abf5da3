/* SPDX-License-Identifier: MIT */
/* Brings the bytes of a block into host memory. */
#ifndef UFM_STORE_STORE_H
#define UFM_STORE_STORE_H

#include <stdint.h>
#include <ufm/ufm.h>

#include "checkpoint/checkpoint.h"

/* A store, or a filter around one. Any thread may read; reads may run side by side. */
typedef struct store store;
struct store {
	/* Fills expert_bytes at `block`. UFM_EEXPERT_IO, and what a caller's function returns, name layer (by its number in
	 * the model), expert and cause. */
	ufm_status (*read)(store *s, uint32_t key, void *block);
	void (*close)(store *s);
};

/* The store that a bank's extents need (memory, synthetic, pread). Holds a reference to the bank.
 * filter: NULL, or the filters to wrap around it, outermost first, separated by '+':
 * "fault:layer=L,expert=E" makes that read fail; "delay:ns=N" makes every read slower. */
ufm_status store_open(ufm_bank *bank, const char *filter, store **out);
static inline ufm_status store_read(store *s, uint32_t key, void *block)
{
	return s->read(s, key, block);
}
void store_close(store *s); /* NULL is allowed */

/* Reads a whole F32, BF16 or F16 tensor of a checkpoint as f32: `out` has room for all its elements.
 * UFM_EFORMAT for another dtype; UFM_EFILE; both name file and tensor. */
ufm_status store_read_tensor(const checkpoint *c, const checkpoint_tensor *tensor, float *out);

/* The whole of ufm_bank_save but the file's coming and going: writes a packed file to `fd`. `path`
 * is for messages. */
ufm_status store_write_packed(ufm_bank *bank, int fd, const char *path);

/* The parts that store_open stacks. Each takes ownership of `inner`, also on failure. */
ufm_status store_extents_open(ufm_bank *bank, store **out);
ufm_status store_fault_open(store *inner, const ufm_bank *bank, const char *options, store **out);
ufm_status store_delay_open(store *inner, const char *options, store **out);

#endif
