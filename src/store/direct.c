/* SPDX-License-Identifier: MIT */
/* Reading large pieces of a file past the page cache: a bank is read once, and a copy of it that nobody
 * asks for again costs time and memory. What the page cache holds is taken from there: it is faster. */
#include "store/direct_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"

#define ALIGN_BYTES 4096u /* a multiple of what every disk asks of offset, size and memory */
#define PIECE_BYTES ((uint64_t)16 << 20) /* is looked up in the page cache as a whole */
#define SAMPLES 16u
#define BOUNCE_BYTES ((uint64_t)2 << 20) /* a huge page: few segments for the disk */

static void map_file(direct_file *f)
{
	struct stat st;

	if (fstat(f->fd, &st) != 0 || st.st_size <= 0)
		return;
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return;
	f->map = map;
	f->map_bytes = (uint64_t)st.st_size;
}

ufm_status direct_open(const char *path, direct_file *out)
{
	int fd;
	uint64_t size_bytes;
	ufm_status status = file_open(path, &fd, &size_bytes);

	if (status)
		return status_prefix(status, "%s", path);
	*out = (direct_file){.fd = fd, .direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT)};
	if (out->direct_fd < 0)
		log_info("%s: read through the page cache, not past it: %s", path, strerror(errno));
	map_file(out);
	return UFM_OK;
}

void direct_close(direct_file *f)
{
	if (f->map)
		munmap(f->map, f->map_bytes);
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	close(f->fd);
}

/* Whether half of SAMPLES pages spread over a piece are in the page cache; also when nobody says. To look
 * at each of 4096 pages takes a tenth of the time in which the page cache gives them. */
static bool is_cached(const direct_file *f, uint64_t size_bytes, uint64_t offset_bytes)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	uint32_t cached = 0;

	if (size_bytes > f->map_bytes || offset_bytes > f->map_bytes - size_bytes)
		return true;
	for (uint64_t i = 0; i < SAMPLES; i++) {
		uint64_t at = offset_bytes + size_bytes * i / SAMPLES;
		unsigned char resident = 1;

		if (mincore(f->map + at / page_bytes * page_bytes, 1, &resident) != 0 || resident & 1)
			cached++;
	}
	return 2 * cached >= SAMPLES;
}

/* Returns how much was read before the first failure, the file's end, or `size_bytes`. */
static uint64_t read_aligned(int fd, uint8_t *out, uint64_t size_bytes, uint64_t offset_bytes)
{
	uint64_t done = 0;

	while (done < size_bytes) {
		ssize_t n = pread(fd, out + done, size_bytes - done, (off_t)(offset_bytes + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (uint64_t)n;
		if (n % ALIGN_BYTES)
			break;
	}
	return done;
}

/* The same where file or memory is not aligned. Without memory for the bounce nothing is read. */
static uint64_t read_bounced(int fd, uint8_t *out, uint64_t size_bytes, uint64_t offset_bytes)
{
	uint8_t *bounce = alloc_pages(BOUNCE_BYTES);
	uint64_t done = 0;

	if (bounce)
		alloc_pages_keep_from_fork(bounce, BOUNCE_BYTES, true);
	while (bounce && done < size_bytes) {
		uint64_t lead = (offset_bytes + done) % ALIGN_BYTES, left = lead + size_bytes - done;
		uint64_t wanted = (left + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES, n;

		wanted = wanted < BOUNCE_BYTES ? wanted : BOUNCE_BYTES;
		n = read_aligned(fd, bounce, wanted, offset_bytes + done - lead);
		if (n <= lead)
			break;
		n = (n < left ? n : left) - lead;
		memcpy(out + done, bounce + lead, n);
		done += n;
	}
	alloc_pages_free(bounce, BOUNCE_BYTES);
	return done;
}

/* The aligned part in front of `size_bytes`; 0 where a failure of any kind is for the page cache to
 * repeat, so that it is told in one way. */
static uint64_t read_past_cache(const direct_file *f, uint8_t *out, uint64_t size_bytes,
                                uint64_t offset_bytes)
{
	if (f->direct_fd < 0 || size_bytes < DIRECT_BYTES_MIN || is_cached(f, size_bytes, offset_bytes))
		return 0;
	if (offset_bytes % ALIGN_BYTES == 0 && (uintptr_t)out % ALIGN_BYTES == 0)
		return read_aligned(f->direct_fd, out, size_bytes / ALIGN_BYTES * ALIGN_BYTES,
		                    offset_bytes);
	return read_bounced(f->direct_fd, out, size_bytes, offset_bytes);
}

ufm_status direct_read(const direct_file *f, void *out, uint64_t size_bytes, uint64_t offset_bytes,
                       uint64_t *got)
{
	*got = 0;
	while (*got < size_bytes) {
		uint64_t left = size_bytes - *got, piece = left < PIECE_BYTES ? left : PIECE_BYTES, more;
		uint8_t *to = (uint8_t *)out + *got;
		uint64_t done = read_past_cache(f, to, piece, offset_bytes + *got);
		ufm_status status =
			file_read(f->fd, to + done, piece - done, offset_bytes + *got + done, &more);

		*got += done + more;
		if (status || done + more < piece)
			return status;
	}
	return UFM_OK;
}
