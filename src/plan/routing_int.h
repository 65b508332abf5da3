/* SPDX-License-Identifier: MIT */
/* Routing made by the calibrated synthetic router of src/trace, for routing*.c. */
#ifndef UFM_PLAN_ROUTING_INT_H
#define UFM_PLAN_ROUTING_INT_H

#include "plan/routing.h"

/* `text`: what follows "sticky:", a preset's name or OVERLAP,SKEW,DRIFT; "" : the preset that suits the shape, by its
 * name or else by its number of experts. UFM_EINVAL. */
ufm_status routing_sticky_check(const char *text);
ufm_status routing_sticky_make(const plan_routing_config *config, const char *text, trace *out);
void routing_sticky_words(const plan_routing_config *config, const char *text, char *words,
                          size_t size);

#endif
