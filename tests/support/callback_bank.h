/* SPDX-License-Identifier: MIT */
/* A model in the caller's memory, and banks whose function copies its experts. */
#ifndef UFM_TESTS_CALLBACK_BANK_H
#define UFM_TESTS_CALLBACK_BANK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <ufm/ufm.h>

#define WEIGHTS_LAYERS 3
#define WEIGHTS_EXPERTS 5
#define WEIGHTS_KEYS (WEIGHTS_LAYERS * WEIGHTS_EXPERTS)
#define WEIGHTS_FAILS_NEVER UINT32_MAX

/* The weights, and what has been asked of them. */
typedef struct weights {
	ufm_bank *source;
	_Atomic uint32_t reads[WEIGHTS_KEYS];
	_Atomic uint32_t total, closed;
	uint32_t order[WEIGHTS_KEYS]; /* the first keys, as they came in */
	/* may be set: */
	uint32_t fails_at; /* the key whose read gives `status` */
	int status;
	bool writes_gaps; /* else parts alone are written */
} weights;

/* Experts of a standard layout. */
ufm_expert_desc weights_describe(ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                                 uint32_t d_hidden);

void weights_open(weights *w, const ufm_expert_desc *desc);
/* Fails unless so many banks have told of their end. */
void weights_close(weights *w, uint32_t closed);

ufm_bank_callback_config weights_config(weights *w);
ufm_bank *weights_bank(weights *w);
/* Pageable, on the cpu backend. 0 threads: the default. */
ufm_status weights_host(ufm_bank *bank, uint32_t threads, ufm_host **out);

/* Fails unless the block is the expert's, gaps included. */
void weights_check_block(const weights *w, uint32_t key, const void *block);
/* Every expert by ufm_bank_read, into memory that held something else. */
void weights_check_reads(const weights *w, const ufm_bank *bank);
/* Host tiers filled by several numbers of threads: every block, and that each took one read. */
void weights_check_hosts(weights *w, ufm_bank *bank);

#endif
