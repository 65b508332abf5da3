/* SPDX-License-Identifier: MIT */
/* What an event's members must be: known experts, each once. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "trace/trace_int.h"

bool number_set_open(number_set *s, uint32_t size)
{
	s->stamp = alloc_zeroed(size, sizeof *s->stamp);
	s->now = 1;
	s->size = size;
	return s->stamp != NULL;
}

void number_set_close(number_set *s)
{
	alloc_free(s->stamp);
	s->stamp = NULL;
}

/* Old stamps must not look new when the count begins again. */
void number_set_clear(number_set *s)
{
	if (++s->now)
		return;
	memset(s->stamp, 0, s->size * sizeof *s->stamp);
	s->now = 1;
}

ufm_status member_check_open(member_check *m, uint32_t experts)
{
	m->limit = experts ? experts : TRACE_EXPERTS_MAX;
	m->experts = experts;
	return number_set_open(&m->seen, m->limit) ? UFM_OK : UFM_ENOMEM;
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
