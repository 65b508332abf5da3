/* SPDX-License-Identifier: MIT */
/* Notes and warnings, one line each, to the sink set with ufm_set_log. */
#ifndef UFM_BASE_LOG_H
#define UFM_BASE_LOG_H

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
