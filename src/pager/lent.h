/* SPDX-License-Identifier: MIT */
/* Which lender serves which device, and what was lent: of the process, for allocators that can pass no context. Its lock
 * is taken last, and never held while a driver, an engine or a caller is called. */
#ifndef UFM_PAGER_LENT_H
#define UFM_PAGER_LENT_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* A lender's entry here, the first member of it. */
typedef struct lent_owner lent_owner;
struct lent_owner {
	uint32_t device_index;             /* this and the next are the same from open to close */
	int (*release)(ufm_devptr memory); /* what gives memory back to the driver */
	/* guarded by the process's lock: */
	lent_owner *older;
	uint32_t users;        /* threads between lent_enter and lent_leave */
	uint64_t count, bytes; /* lent and not given back yet */
};

/* From now on it is the one of its device. UFM_ENOMEM. */
ufm_status lent_open(lent_owner *owner);
/* The one before it is again. What it has lent stays lent, and nobody's. Waits for its users. */
void lent_close(lent_owner *owner);

/* The lender of a device that was opened last, which stays open until lent_leave; NULL: there is none. */
lent_owner *lent_enter(int device_index);
void lent_leave(lent_owner *owner);

/* The driver has given it. UFM_ENOMEM: it is not noted. */
ufm_status lent_add(lent_owner *owner, ufm_devptr memory, uint64_t size_bytes);
/* Gives it back to the driver. owner NULL: whoever lent it. UFM_EINVAL: nobody, or not this owner; UFM_EDEVICE: the driver
 * refused. */
ufm_status lent_release(const lent_owner *owner, ufm_devptr memory);
void lent_get(const lent_owner *owner, uint64_t *count, uint64_t *bytes);

#endif
