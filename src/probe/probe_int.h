/* SPDX-License-Identifier: MIT */
/* What the device does by itself. */
#ifndef UFM_PROBE_PROBE_INT_H
#define UFM_PROBE_PROBE_INT_H

#include "probe/probe.h"

/* Decimal GB/s of the subject's range, read. */
ufm_status probe_memory(probe_subject *s, double *gbps);
/* GFLOP/s of `experts`; 0 where a call has too few rows to say anything. */
ufm_status probe_arithmetic(probe_subject *s, double *gflops);

#endif
