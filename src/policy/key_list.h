/* SPDX-License-Identifier: MIT */
/* An ordered list of keys, linked through arrays indexed by key: every operation is O(1) and nothing
 * is allocated after init. */
#ifndef UFM_POLICY_KEY_LIST_H
#define UFM_POLICY_KEY_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/policy.h>

typedef struct key_list {
	uint32_t oldest, youngest; /* UFM_KEY_NONE: empty */
	uint32_t count;
	uint32_t *older, *younger; /* [keys]; neighbours of a linked key */
	uint8_t *linked;           /* [keys] */
} key_list;

ufm_status key_list_init(key_list *list, uint32_t keys);
void key_list_free(key_list *list); /* a zeroed list is allowed */

void key_list_append(key_list *list, uint32_t key); /* as the youngest; must not be linked */
void key_list_unlink(key_list *list, uint32_t key); /* must be linked */

static inline bool key_list_has(const key_list *list, uint32_t key)
{
	return list->linked[key] != 0;
}

#endif
