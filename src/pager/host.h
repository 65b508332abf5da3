/* SPDX-License-Identifier: MIT */
/* The host tier: every block of a bank in host memory. */
#ifndef UFM_PAGER_HOST_H
#define UFM_PAGER_HOST_H

#include <stdbool.h>
#include <ufm/backend.h>

/* ufm_host_open with a backend's table instead of a name (config->backend is not read). */
ufm_status host_open_on(const ufm_backend *backend, ufm_bank *bank, const ufm_host_config *config,
                        ufm_host **out);

/* In a child that fork has made since it was opened: threads, locks and the device's part of it are the parent's. */
bool host_is_parents(const ufm_host *host);
/* UFM_EINVAL there. */
ufm_status host_check_process(const ufm_host *host);

ufm_host *host_ref(ufm_host *host);
const ufm_bank *host_bank(const ufm_host *host);
/* What the model calls a layer: for messages. */
uint32_t host_layer_number(const ufm_host *host, uint32_t layer);
const ufm_backend *host_backend(const ufm_host *host);
/* A block's expert_bytes, page-locked unless the host was opened pageable. Lives as long as the
 * host. */
void *host_block(const ufm_host *host, uint32_t key);

#endif
