/* SPDX-License-Identifier: MIT */
/* Experts that have a slot and whose copy is owed, oldest first, as the engine's pager/owed.h keeps them. */
#ifndef UFM_PLAN_BACKLOG_H
#define UFM_PLAN_BACKLOG_H

#include <stdbool.h>
#include <ufm/ufm.h>

#include "cache/cache.h"

typedef struct backlog {
	uint32_t *keys; /* [count], oldest first; room for all keys there are */
	bool *waits;    /* by key */
	uint32_t count;
} backlog;

/* Zeroed before. UFM_ENOMEM. */
ufm_status backlog_open(uint32_t keys, backlog *b);
void backlog_close(backlog *b);

/* A key that was admitted without its copy; one that is there keeps its turn. */
void backlog_add(backlog *b, uint32_t key);
/* A demand brought it. */
void backlog_remove(backlog *b, uint32_t key);
/* Those that lost their slot meanwhile. */
void backlog_drop_evicted(backlog *b, const cache *c);
/* So many copies have begun. */
void backlog_start(backlog *b, uint32_t n);

#endif
