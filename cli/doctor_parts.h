/* SPDX-License-Identifier: MIT */
/* What `ufm doctor` finds, part by part, as JSON. */
#ifndef CLI_DOCTOR_PARTS_H
#define CLI_DOCTOR_PARTS_H

#include <jansson.h>

json_t *doctor_gpus(void);                   /* [{pci, vendor, name, driver, link …}] */
json_t *doctor_backends(void);               /* [{name, path, verdict}] and what auto takes */
json_t *doctor_disk(const char *folder);     /* {folder, filesystem, free_bytes, …} */
json_t *doctor_programs(void);               /* {gnuplot: path or null} */
json_t *doctor_verdict(const json_t *found); /* [sentence, …] */

#endif
