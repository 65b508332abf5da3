/* SPDX-License-Identifier: MIT */
/* Monotonic time. */
#ifndef UFM_BASE_CLOCK_H
#define UFM_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);
/* Sleeps until clock_now_ns() >= until_ns; returns at once when that has passed. */
void clock_sleep_until_ns(uint64_t until_ns);

#endif
