/* SPDX-License-Identifier: MIT */
/* The library's own threads. */
#ifndef UFM_BASE_THREAD_H
#define UFM_BASE_THREAD_H

#include <pthread.h>

/* Starts a thread that blocks every signal, so that SIGINT reaches one of the application. Returns an
 * error number, or 0. */
int thread_start(pthread_t *thread, void *(*thread_main)(void *), void *self);

#endif
