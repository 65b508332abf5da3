/* SPDX-License-Identifier: MIT */
/* Preloaded into `ufm`: the N-th call of one kind into the C library fails, once or from then on. tests/cli/test_faults.py
 * drives it.
 *
 *     LD_PRELOAD=libfailing_calls.so FAILING_CALLS=FILE ufm ...
 *
 * FILE is a struct orders, mapped: the driver writes what shall fail, and finds there how often each kind was called,
 * whatever became of the process. Calls that the C library makes of itself are reached where it makes them by name
 * (malloc); its writes below stdio are not, so that the functions of stdio are kinds of their own. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* In the order of KINDS in the driver. */
enum kind {
	MEMORY,  /* malloc and its like */
	MAP,     /* mmap, mprotect */
	THREAD,  /* pthread_create */
	PROCESS, /* posix_spawn, memfd_create for what a child says */
	OPEN,    /* open, fopen, fdopen */
	STAT,    /* stat, fstat, lstat, lseek, fseek */
	READ,    /* read, pread, fread, fgets */
	LINE,    /* getline, getdelim */
	WRITE,   /* write, pwrite */
	PRINT,   /* fwrite, fprintf, fputs, fputc, puts: on all but standard error */
	FLUSH,   /* fflush */
	CLOSE,   /* close, fclose, closedir */
	SYNC,    /* fsync, fdatasync */
	RENAME,
	FOLDER, /* mkdir, opendir, readdir */
	REMOVE, /* unlink */
	TRUNCATE,
	SHORT, /* read, pread, write and pwrite do half of what they were asked: no error */
	KIND_COUNT
};

typedef struct orders {
	uint32_t kind;
	uint32_t forever;
	uint64_t number; /* from 1; 0: nothing fails */
	atomic_uint_fast64_t calls[KIND_COUNT];
	atomic_uint_fast64_t failed;
} orders;

static orders nothing;
static orders *_Atomic heard; /* NULL: not begun */

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAILING_CALLS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *mapped =
		fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (mapped == MAP_FAILED)
		abort(); /* a test that fails nothing would pass */
	/* Not for gnuplot. */
	unsetenv("LD_PRELOAD");
	atomic_store(&heard, mapped);
}

static bool fails(enum kind kind)
{
	orders *o = atomic_load(&heard);
	if (!o)
		o = &nothing;
	uint64_t number = atomic_fetch_add(&o->calls[kind], 1) + 1;
	bool now =
		o->number && o->kind == kind && (o->forever ? number >= o->number : number == o->number);
	if (now)
		atomic_fetch_add(&o->failed, 1);
	return now;
}

/* The next definition of the function that this stands in. */
#define REAL(name) \
	static __typeof__(name) *real; \
	if (!real) \
	real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define FAIL_WITH(error, value) \
	do { \
		errno = (error); \
		return (value); \
	} while (0)

/* ---- memory. A sanitizer has an allocator of its own, which tests of the library fail by a hook. */

#ifndef UFM_SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
	if (fails(MEMORY))
		FAIL_WITH(ENOMEM, NULL);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	if (fails(MEMORY))
		FAIL_WITH(ENOMEM, NULL);
	return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	if (fails(MEMORY))
		FAIL_WITH(ENOMEM, NULL);
	return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	if (fails(MEMORY))
		FAIL_WITH(ENOMEM, NULL);
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *memory = fails(MEMORY) ? NULL : __libc_memalign(alignment, size);
	if (!memory)
		return ENOMEM;
	*out = memory;
	return 0;
}
#endif

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	REAL(mmap);
	if (fails(MAP))
		FAIL_WITH(ENOMEM, MAP_FAILED);
	return real(at, size, protection, flags, fd, offset);
}

int mprotect(void *at, size_t size, int protection)
{
	REAL(mprotect);
	if (fails(MAP))
		FAIL_WITH(ENOMEM, -1);
	return real(at, size, protection);
}

/* ---- threads and processes */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *ctx)
{
	REAL(pthread_create);
	return fails(THREAD) ? EAGAIN : real(thread, attributes, run, ctx);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const environment[])
{
	REAL(posix_spawnp);
	return fails(PROCESS) ? EAGAIN : real(pid, file, actions, attributes, argv, environment);
}

int memfd_create(const char *name, unsigned flags)
{
	REAL(memfd_create);
	if (fails(PROCESS))
		FAIL_WITH(EMFILE, -1);
	return real(name, flags);
}

/* ---- files that are opened, asked and closed */

int open(const char *path, int flags, ...)
{
	REAL(open);
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (fails(OPEN))
		FAIL_WITH(EMFILE, -1);
	return real(path, flags, mode);
}

FILE *fopen(const char *path, const char *how)
{
	REAL(fopen);
	if (fails(OPEN))
		FAIL_WITH(EMFILE, NULL);
	return real(path, how);
}

FILE *fdopen(int fd, const char *how)
{
	REAL(fdopen);
	if (fails(OPEN))
		FAIL_WITH(ENOMEM, NULL);
	return real(fd, how);
}

int stat(const char *path, struct stat *out)
{
	REAL(stat);
	if (fails(STAT))
		FAIL_WITH(EACCES, -1);
	return real(path, out);
}

int lstat(const char *path, struct stat *out)
{
	REAL(lstat);
	if (fails(STAT))
		FAIL_WITH(EACCES, -1);
	return real(path, out);
}

int fstat(int fd, struct stat *out)
{
	REAL(fstat);
	if (fails(STAT))
		FAIL_WITH(EIO, -1);
	return real(fd, out);
}

off_t lseek(int fd, off_t offset, int from)
{
	REAL(lseek);
	if (fails(STAT))
		FAIL_WITH(EIO, -1);
	return real(fd, offset, from);
}

int fseek(FILE *file, long offset, int from)
{
	REAL(fseek);
	if (fails(STAT))
		FAIL_WITH(EIO, -1);
	return real(file, offset, from);
}

/* What fails to close is closed. */
int close(int fd)
{
	REAL(close);
	int result = real(fd);
	if (fails(CLOSE))
		FAIL_WITH(EIO, -1);
	return result;
}

int fclose(FILE *file)
{
	REAL(fclose);
	int result = real(file);
	if (fails(CLOSE))
		FAIL_WITH(ENOSPC, EOF);
	return result;
}

int closedir(DIR *folder)
{
	REAL(closedir);
	int result = real(folder);
	if (fails(CLOSE))
		FAIL_WITH(EIO, -1);
	return result;
}

int fsync(int fd)
{
	REAL(fsync);
	if (fails(SYNC))
		FAIL_WITH(EIO, -1);
	return real(fd);
}

int fdatasync(int fd)
{
	REAL(fdatasync);
	if (fails(SYNC))
		FAIL_WITH(EIO, -1);
	return real(fd);
}

int ftruncate(int fd, off_t size)
{
	REAL(ftruncate);
	if (fails(TRUNCATE))
		FAIL_WITH(EIO, -1);
	return real(fd, size);
}

/* ---- names */

int rename(const char *from, const char *to)
{
	REAL(rename);
	if (fails(RENAME))
		FAIL_WITH(EACCES, -1);
	return real(from, to);
}

int unlink(const char *path)
{
	REAL(unlink);
	if (fails(REMOVE))
		FAIL_WITH(EACCES, -1);
	return real(path);
}

int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir);
	if (fails(FOLDER))
		FAIL_WITH(EACCES, -1);
	return real(path, mode);
}

DIR *opendir(const char *path)
{
	REAL(opendir);
	if (fails(FOLDER))
		FAIL_WITH(EMFILE, NULL);
	return real(path);
}

struct dirent *readdir(DIR *folder)
{
	REAL(readdir);
	if (fails(FOLDER))
		FAIL_WITH(EIO, NULL);
	return real(folder);
}

/* ---- bytes */

static size_t part(size_t size)
{
	return size > 1 && fails(SHORT) ? size / 2 : size;
}

ssize_t read(int fd, void *out, size_t size)
{
	REAL(read);
	if (fails(READ))
		FAIL_WITH(EIO, -1);
	return real(fd, out, part(size));
}

ssize_t pread(int fd, void *out, size_t size, off_t offset)
{
	REAL(pread);
	if (fails(READ))
		FAIL_WITH(EIO, -1);
	return real(fd, out, part(size), offset);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	REAL(write);
	if (fd == STDERR_FILENO)
		return real(fd, bytes, size);
	if (fails(WRITE))
		FAIL_WITH(ENOSPC, -1);
	return real(fd, bytes, part(size));
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	REAL(pwrite);
	if (fails(WRITE))
		FAIL_WITH(ENOSPC, -1);
	return real(fd, bytes, part(size), offset);
}

/* ---- streams. What is lost of one is remembered in the flag that ferror reads. */

#define STREAM_ERROR 0x20

static bool stream_fails(FILE *file, enum kind kind, int error)
{
	if (file == stderr || !fails(kind))
		return false;
	file->_flags |= STREAM_ERROR;
	errno = error;
	return true;
}

size_t fread(void *out, size_t size, size_t count, FILE *file)
{
	REAL(fread);
	return stream_fails(file, READ, EIO) ? 0 : real(out, size, count, file);
}

char *fgets(char *out, int size, FILE *file)
{
	REAL(fgets);
	return stream_fails(file, READ, EIO) ? NULL : real(out, size, file);
}

ssize_t getline(char **line, size_t *room, FILE *file)
{
	REAL(getline);
	return stream_fails(file, LINE, EIO) ? -1 : real(line, room, file);
}

/* What getline is where the compiler optimises. */
ssize_t __getdelim(char **line, size_t *room, int end, FILE *file);
ssize_t __getdelim(char **line, size_t *room, int end, FILE *file)
{
	REAL(__getdelim);
	return stream_fails(file, LINE, EIO) ? -1 : real(line, room, end, file);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *file)
{
	REAL(fwrite);
	return stream_fails(file, PRINT, ENOSPC) ? 0 : real(bytes, size, count, file);
}

int fputs(const char *text, FILE *file)
{
	REAL(fputs);
	return stream_fails(file, PRINT, ENOSPC) ? EOF : real(text, file);
}

int fputc(int c, FILE *file)
{
	REAL(fputc);
	return stream_fails(file, PRINT, ENOSPC) ? EOF : real(c, file);
}

#undef putc
int putc(int c, FILE *file)
{
	REAL(putc);
	return stream_fails(file, PRINT, ENOSPC) ? EOF : real(c, file);
}

#undef putchar
int putchar(int c)
{
	REAL(putchar);
	return stream_fails(stdout, PRINT, ENOSPC) ? EOF : real(c);
}

int puts(const char *text)
{
	REAL(puts);
	return stream_fails(stdout, PRINT, ENOSPC) ? EOF : real(text);
}

int vfprintf(FILE *file, const char *format, va_list args)
{
	REAL(vfprintf);
	return stream_fails(file, PRINT, ENOSPC) ? -1 : real(file, format, args);
}

int fprintf(FILE *file, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int length = vfprintf(file, format, args);
	va_end(args);
	return length;
}

int printf(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int length = vfprintf(stdout, format, args);
	va_end(args);
	return length;
}

int fflush(FILE *file)
{
	REAL(fflush);
	return file && stream_fails(file, FLUSH, ENOSPC) ? EOF : real(file);
}
