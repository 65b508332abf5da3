/* SPDX-License-Identifier: MIT */
/* Ranked mutexes over pthreads; each thread remembers the locks it holds, to check their order. */
#include "base/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000u

/* A pthread call fails here only through our own misuse. */
static void must(int error, const char *call)
{
	if (error == 0)
		return;
	fprintf(stderr, "ufm: %s: %s\n", call, strerror(error));
	abort();
}

#ifndef NDEBUG
#define HELD_MAX 8

static _Thread_local const lock *held[HELD_MAX];
static _Thread_local int held_count;

static _Noreturn void die(const lock *l, const char *what, const lock *other)
{
	fprintf(stderr, "ufm: lock %s (rank %d) %s", l->name, (int)l->rank, what);
	if (other)
		fprintf(stderr, " %s (rank %d)", other->name, (int)other->rank);
	fputc('\n', stderr);
	abort();
}

static int held_index(const lock *l)
{
	int i = held_count;

	while (i > 0 && held[i - 1] != l)
		i--;
	return i - 1;
}

static void check_take(const lock *l)
{
	if (held_count && held[held_count - 1]->rank >= l->rank)
		die(l, "taken while holding", held[held_count - 1]);
	if (held_count == HELD_MAX)
		die(l, "is one more than a thread may hold after", held[held_count - 1]);
}

static void note_taken(const lock *l)
{
	held[held_count++] = l;
}

static void note_dropped(const lock *l)
{
	int at = held_index(l);

	if (at < 0)
		die(l, "dropped but not held", NULL);
	held_count--;
	memmove(&held[at], &held[at + 1], (size_t)(held_count - at) * sizeof held[0]);
}

/* A wait takes the lock again: with a later one still held that would be out of order. */
static void check_wait(const lock *l)
{
	if (held_index(l) < 0)
		die(l, "waited on but not held", NULL);
	if (held[held_count - 1] != l)
		die(l, "waited on while holding", held[held_count - 1]);
}

static void check_idle(const lock *l)
{
	if (held_index(l) >= 0)
		die(l, "destroyed while held", NULL);
}
#else
static void check_take(const lock *l)
{
	(void)l;
}

static void note_taken(const lock *l)
{
	(void)l;
}

static void note_dropped(const lock *l)
{
	(void)l;
}

static void check_wait(const lock *l)
{
	(void)l;
}

static void check_idle(const lock *l)
{
	(void)l;
}
#endif

void lock_init(lock *l, lock_rank rank, const char *name)
{
	must(pthread_mutex_init(&l->mutex, NULL), "pthread_mutex_init");
	l->rank = rank;
	l->name = name;
}

void lock_destroy(lock *l)
{
	check_idle(l);
	must(pthread_mutex_destroy(&l->mutex), "pthread_mutex_destroy");
}

void lock_take(lock *l)
{
	check_take(l);
	must(pthread_mutex_lock(&l->mutex), "pthread_mutex_lock");
	note_taken(l);
}

void lock_drop(lock *l)
{
	note_dropped(l);
	must(pthread_mutex_unlock(&l->mutex), "pthread_mutex_unlock");
}

void lock_cond_init(lock_cond *c)
{
	pthread_condattr_t attributes;

	must(pthread_condattr_init(&attributes), "pthread_condattr_init");
	must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), "pthread_condattr_setclock");
	must(pthread_cond_init(&c->cond, &attributes), "pthread_cond_init");
	must(pthread_condattr_destroy(&attributes), "pthread_condattr_destroy");
}

void lock_cond_destroy(lock_cond *c)
{
	must(pthread_cond_destroy(&c->cond), "pthread_cond_destroy");
}

void lock_wait(lock_cond *c, lock *l)
{
	check_wait(l);
	must(pthread_cond_wait(&c->cond, &l->mutex), "pthread_cond_wait");
}

bool lock_wait_until(lock_cond *c, lock *l, uint64_t until_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_S),
		.tv_nsec = (long)(until_ns % NS_PER_S),
	};

	check_wait(l);
	int error = pthread_cond_timedwait(&c->cond, &l->mutex, &until);
	if (error == ETIMEDOUT)
		return false;
	must(error, "pthread_cond_timedwait");
	return true;
}

void lock_wake_one(lock_cond *c)
{
	must(pthread_cond_signal(&c->cond), "pthread_cond_signal");
}

void lock_wake_all(lock_cond *c)
{
	must(pthread_cond_broadcast(&c->cond), "pthread_cond_broadcast");
}
