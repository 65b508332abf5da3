/* SPDX-License-Identifier: MIT */
/* Which lender serves which device, and what was lent. */
#include "pager/lent.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

typedef struct loan {
	ufm_devptr memory;
	uint64_t size_bytes;
	lent_owner *owner; /* NULL: it has closed */
	int (*release)(ufm_devptr memory);
} loan;

/* Of the process: whoever frees passes an address alone. A plain mutex, for it is held across a fork. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER; /* a user has left */
static lent_owner *newest;
static loan *loans;
static uint32_t loan_count, loan_room;

/* ------------------------------------------------------------------ forks */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_error;

static void before_fork(void)
{
	pthread_mutex_lock(&guard);
}

static void in_parent(void)
{
	pthread_mutex_unlock(&guard);
}

/* Lenders and what they lent are the parent's. */
static void in_child(void)
{
	newest = NULL;
	alloc_free(loans);
	loans = NULL;
	loan_count = loan_room = 0;
	pthread_cond_init(&left, NULL);
	pthread_mutex_unlock(&guard);
}

static void watch_forks(void)
{
	once_error = pthread_atfork(before_fork, in_parent, in_child);
}

/* ------------------------------------------------------------------ lenders */

ufm_status lent_open(lent_owner *owner)
{
	pthread_once(&once, watch_forks);
	if (once_error)
		return status_fail(UFM_ENOMEM, "forks cannot be watched: %s", strerror(once_error));
	pthread_mutex_lock(&guard);
	owner->older = newest;
	newest = owner;
	pthread_mutex_unlock(&guard);
	return UFM_OK;
}

static void unlink_owner(const lent_owner *owner)
{
	lent_owner **link = &newest;
	while (*link != owner)
		link = &(*link)->older;
	*link = owner->older;
}

void lent_close(lent_owner *owner)
{
	pthread_mutex_lock(&guard);
	unlink_owner(owner);
	while (owner->users)
		pthread_cond_wait(&left, &guard);
	for (uint32_t i = 0; i < loan_count; i++) {
		if (loans[i].owner == owner)
			loans[i].owner = NULL;
	}
	pthread_mutex_unlock(&guard);
}

lent_owner *lent_enter(int device_index)
{
	pthread_mutex_lock(&guard);
	lent_owner *owner = newest;
	while (owner && (int64_t)owner->device_index != device_index)
		owner = owner->older;
	if (owner)
		owner->users++;
	pthread_mutex_unlock(&guard);
	return owner;
}

void lent_leave(lent_owner *owner)
{
	pthread_mutex_lock(&guard);
	assert(owner->users > 0);
	owner->users--;
	pthread_cond_broadcast(&left);
	pthread_mutex_unlock(&guard);
}

/* ------------------------------------------------------------------ loans */

static bool add_loan(const loan *l)
{
	loan *larger = alloc_grow(loans, loan_count, &loan_room, sizeof *loans);
	if (!larger)
		return false;
	loans = larger;
	loans[loan_count++] = *l;
	l->owner->count++;
	l->owner->bytes += l->size_bytes;
	return true;
}

ufm_status lent_add(lent_owner *owner, ufm_devptr memory, uint64_t size_bytes)
{
	const loan l = {memory, size_bytes, owner, owner->release};
	pthread_mutex_lock(&guard);
	bool added = add_loan(&l);
	pthread_mutex_unlock(&guard);
	return added ? UFM_OK : UFM_ENOMEM;
}

/* The table goes with the last of its loans. */
static void remove_loan(uint32_t at)
{
	lent_owner *owner = loans[at].owner;
	if (owner) {
		owner->count--;
		owner->bytes -= loans[at].size_bytes;
	}
	loans[at] = loans[--loan_count];
	if (loan_count)
		return;
	alloc_free(loans);
	loans = NULL;
	loan_room = 0;
}

static bool take_loan(const lent_owner *owner, ufm_devptr memory, loan *out)
{
	uint32_t at = 0;
	while (at < loan_count && loans[at].memory != memory)
		at++;
	if (at == loan_count || (owner && loans[at].owner != owner))
		return false;
	*out = loans[at];
	remove_loan(at);
	return true;
}

/* It is forgotten before the driver has it again, which may give the same address to another thread at once. */
ufm_status lent_release(const lent_owner *owner, ufm_devptr memory)
{
	loan found;
	pthread_mutex_lock(&guard);
	bool taken = take_loan(owner, memory, &found);
	pthread_mutex_unlock(&guard);
	if (!taken)
		return status_fail(UFM_EINVAL, "memory: %#llx, expected what was lent and not given back",
		                   (unsigned long long)memory);
	int refused = found.release(memory);
	return refused
	           ? status_fail(UFM_EDEVICE, "%llu bytes lent: the driver did not take them back (%d)",
	                         (unsigned long long)found.size_bytes, refused)
	           : UFM_OK;
}

void lent_get(const lent_owner *owner, uint64_t *count, uint64_t *bytes)
{
	pthread_mutex_lock(&guard);
	*count = owner->count;
	*bytes = owner->bytes;
	pthread_mutex_unlock(&guard);
}
