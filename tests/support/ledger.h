/* SPDX-License-Identifier: MIT */
/* A device for tests of lenders: two small models on it, and a driver that keeps account of what the engines really hold
 * and of what was lent. With UFM_TEST_BACKEND=cuda the driver is CUDA's. */
#ifndef UFM_TESTS_LEDGER_H
#define UFM_TESTS_LEDGER_H

#include <stdatomic.h>

#include "support/fixture.h"

#define LEDGER_MIB ((uint64_t)1 << 20)

typedef struct ledger {
	fixture f[2];
	ufm_engine *engines[2];
	uint64_t others_bytes;    /* held by others, of the driver's count */
	ufm_lender_config config; /* limit_bytes 0; all else is set */
	uint64_t want[2];         /* hashes of step 1's outputs */
} ledger;

/* What the pretended driver does; ledger_open sets all to 0. */
typedef struct ledger_driver {
	_Atomic uint32_t refusals;      /* so many allocations fail from now on */
	_Atomic uint32_t release_fails; /* not 0: it takes nothing back */
	_Atomic uint32_t memory_fails;  /* not 0: it does not say what is free */
	_Atomic uint64_t round_bytes;   /* allocations take whole multiples of it */
	_Atomic uint64_t limit_bytes;   /* not 0: an allocation beyond it is counted in `passed` */
	_Atomic uint64_t outside_bytes; /* allocated by nobody's leave */
	_Atomic uint32_t passed, allocs, releases, looks;
} ledger_driver;
extern ledger_driver ledger_is;

/* The real driver, which nobody can tell what to do. */
bool ledger_is_real(void);

void ledger_open(ledger *l);
/* Memory that is still lent is a failure. */
void ledger_close(ledger *l);
/* By the driver's count, less others'. */
uint64_t ledger_used(void);
uint64_t ledger_lent(void);

ufm_lender *ledger_lend(ledger *l, uint64_t limit_bytes);
ufm_engine_bounds ledger_bounds(ledger *l, uint32_t engine);
/* What the engines can give. */
uint64_t ledger_gives(ledger *l);
ufm_lender_info ledger_info(ufm_lender *lender);
/* Both models compute what they computed when the ledger opened. */
void ledger_check_results(ledger *l);

#endif
