/* SPDX-License-Identifier: MIT */
/* Whether a backend computes with experts as they are stored. */
#ifndef UFM_DEVICE_READS_H
#define UFM_DEVICE_READS_H

#include <ufm/backend.h>

/* Of a checked description. UFM_EUNSUPPORTED names what the backend does not read, and what it does. */
ufm_status device_reads(const ufm_backend *backend, const ufm_expert_desc *desc);

#endif
