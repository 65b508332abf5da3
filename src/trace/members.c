/* SPDX-License-Identifier: MIT */
/* What an event's members must be: known experts, each once. */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/status.h"
#include "trace/trace_int.h"

bool number_set_open(number_set *s)
{
	s->stamp = alloc_zeroed(NUMBER_SET_SIZE, sizeof *s->stamp);
	s->now = 1;
	return s->stamp != NULL;
}

void number_set_close(number_set *s)
{
	alloc_free(s->stamp);
	s->stamp = NULL;
}

ufm_status member_check_open(member_check *m, uint32_t experts)
{
	m->limit = experts ? experts : TRACE_EXPERTS_MAX;
	m->experts = experts;
	return number_set_open(&m->seen) ? UFM_OK : UFM_ENOMEM;
}

void member_check_close(member_check *m)
{
	number_set_close(&m->seen);
}

ufm_status member_check_refuse(const member_check *m, int64_t id)
{
	if (id >= 0 && id < m->limit)
		return status_fail(UFM_EFORMAT, "found expert id %" PRId64 " twice, expected different ids",
		                   id);
	return status_fail(UFM_EFORMAT, "found expert id %" PRId64 ", expected 0 to %" PRIu32, id,
	                   m->limit - 1);
}
