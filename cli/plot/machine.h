/* SPDX-License-Identifier: MIT */
/* The machine that a results folder is from. */
#ifndef CLI_PLOT_MACHINE_H
#define CLI_PLOT_MACHINE_H

#include <ufm/ufm.h>

#define PLOT_MACHINE_BYTES 192

/* "AMD EPYC, 2 cores", of FOLDER/summary.json; "" where there is none, or where it does not say: a warning where it
 * cannot be read. UFM_ENOMEM. */
ufm_status plot_machine_read(const char *folder, char text[PLOT_MACHINE_BYTES]);

#endif
