/* SPDX-License-Identifier: MIT */
/* Keys: the experts of all layers, numbered through. */
#ifndef UFM_PAGER_KEY_H
#define UFM_PAGER_KEY_H

#include <stdint.h>

/* experts: of a layer. */
static inline uint32_t key_of(uint32_t experts, uint32_t layer, uint32_t expert)
{
	return layer * experts + expert;
}

#endif
