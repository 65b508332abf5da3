/* SPDX-License-Identifier: MIT */
/* Turns the first SIGINT or SIGTERM into a flag that long work looks at. Another one within a second is
 * the same wish (`timeout` signals a child and its group); a later one ends the process as usual. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_install(void);
bool interrupt_seen(void);

#endif
