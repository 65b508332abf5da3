/* SPDX-License-Identifier: MIT */
/* Turns the first SIGINT or SIGTERM into a flag that long work looks at; the second one ends the
 * process as usual. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_install(void);
bool interrupt_seen(void);

#endif
