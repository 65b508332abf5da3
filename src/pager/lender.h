/* SPDX-License-Identifier: MIT */
/* One budget for the engines of a device and another library's allocator: the lender, for the files that lend and settle.
 * Its lock is taken before all locks of its engines. */
#ifndef UFM_PAGER_LENDER_H
#define UFM_PAGER_LENDER_H

#include "pager/lent.h"
#include "pager/pager_int.h"

struct ufm_lender {
	lent_owner owner; /* first, so that who finds it by its device has the lender */
	/* the same from open to close: */
	ufm_engine **engines;
	uint32_t engine_count;
	ufm_lender_config c;
	uint64_t step_bytes; /* less is not worth a resize */
	/* Held while memory is found and taken, so that of two threads neither takes what the other was promised. */
	lock lock;
	/* guarded by it: */
	bool is_settled; /* the last settling left nothing to do, and these: */
	uint64_t settled_room_bytes, settled_keep_bytes;
	bool *busy;              /* [engine_count]: its leases are in the way of giving */
	ufm_lender_info figures; /* what is counted, and the high-water */
};

/* What the driver says. */
typedef struct lender_view {
	uint64_t used_bytes;
	uint64_t room_bytes; /* that the limit leaves and the driver has */
} lender_view;

/* UFM_EINVAL for NULL and in a child process. */
ufm_status lender_check_process(const ufm_lender *l);

/* The lender's lock is held in these: */
ufm_status lender_look(ufm_lender *l, lender_view *v);
/* Bounds of all engines together. */
ufm_status lender_sum_bounds(const ufm_lender *l, ufm_engine_bounds *sum);
/* Has engines give back at least so many bytes, or all that they can. UFM_EBUSY: leases are in the way, and what the others
 * could give was not enough. */
ufm_status lender_give(ufm_lender *l, uint64_t size_bytes);
/* Has them give back what is needed for `size_bytes` more to fit the limit. UFM_EBUDGET: they cannot, and nothing has
 * changed. *v is of now. */
ufm_status lender_fit(ufm_lender *l, uint64_t size_bytes, lender_view *v);

#endif
