/* SPDX-License-Identifier: MIT */
#ifndef UFM_BACKEND_H
#define UFM_BACKEND_H

/*
 * backend.h: what a device backend provides. The `cpu` backend is built in and defines the
 * semantics; others are shared objects named libufm_NAME.so that export one symbol:
 *
 *     const ufm_backend *ufm_backend_entry(const ufm_backend_core *core);
 *
 * filled with UFM_BACKEND_HEADER. The registry refuses another abi_version or a struct_size without
 * every function that is not optional, and says so. Every backend runs the cases of tests/conformance and is compared with `cpu`.
 *
 * Rules for all functions.
 * - They return UFM_OK or a status, and then have told core->fail why; after UFM_EDEVICE only close
 *   functions must still work.
 * - Work is enqueued on streams and runs in order within one; across streams only events order it.
 *   Arguments are copied at the call; memory they point to must stay valid until the stream has
 *   passed, except where said.
 * - Enqueueing may block while a queue is full, never for the work itself.
 * - Addresses of device memory never change between map and unmap.
 * - Any thread may call; calls on one stream are the caller's to serialise.
 */

#include <ufm/ufm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UFM_BACKEND_ABI 9u
#define UFM_BACKEND_HEADER(backend_name) \
	.abi_version = UFM_BACKEND_ABI, .struct_size = sizeof(ufm_backend), .name = (backend_name)

/* What the library gives a plugin; valid as long as the plugin is loaded. */
typedef struct ufm_backend_core {
	size_t struct_size;
	/* Records the calling thread's last failure, which ufm_last_error() gives: one line. */
	void (*fail)(const char *line);
	/* A note or a warning for whoever set a log (ufm_set_log): one line. */
	void (*log)(ufm_log_level level, const char *line);
} ufm_backend_core;

typedef struct ufm_device ufm_device;
typedef struct ufm_event ufm_event;

typedef struct ufm_device_config {
	size_t struct_size;
	uint32_t index;
	uint64_t memory_limit_bytes; /* behave like a card of this size; 0: the device's own memory */
	double link_gbps;            /* emulate a link; UFM_EUNSUPPORTED where there is a real one */
	uint32_t compute_threads;    /* cpu only; 0: default */
} ufm_device_config;

typedef struct ufm_device_info {
	char name[128], driver[64];
	uint64_t memory_total_bytes; /* under memory_limit_bytes */
	uint64_t context_bytes; /* taken before any allocation, by the driver and other processes */
	uint64_t map_granularity_bytes;
	uint64_t unusable_bytes; /* of free memory, at most so much cannot be mapped: page tables */
	uint32_t compute_units;
	double link_gbps; /* emulated; 0: real */
	uint32_t math;    /* 1 << ufm_math for every arithmetic that `experts` has */
} ufm_device_info;

/* Read without waiting for the device. */
typedef struct ufm_device_memory {
	uint64_t total_bytes, free_bytes; /* the driver's view, under memory_limit_bytes */
} ufm_device_memory;

typedef enum ufm_copy_kind { UFM_COPY_H2D = 1, UFM_COPY_D2H = 2, UFM_COPY_D2D = 3 } ufm_copy_kind;

/* `count` copies of one size, in no order among them and between no two of the same bytes. The arrays are read
 * at the call. */
typedef struct ufm_copies_args {
	ufm_copy_kind kind;
	uint32_t count;
	const ufm_devptr *dst, *src; /* host: [count] */
	uint64_t size_bytes;         /* of each */
} ufm_copies_args;

/* So many row numbers at most may lie in host memory, instead of device memory, and travel with the launch: a kernel that
 * reads host memory, or a copy before it, would cost more. The memory stays as it is until the work has run. */
#define UFM_FEW_ROWS 64u

/* out[i] = norm(x[index[i]]) for i in 0 … rows-1, f32. index 0: x[first + i]. norm_weight 0: no norm;
 * else x / sqrt(mean(x²) + eps) * norm_weight. */
typedef struct ufm_gather_args {
	ufm_devptr x;      /* may be page-locked host memory, as out may */
	uint64_t x_stride; /* elements; 0: every row is the first */
	ufm_dtype x_dtype;
	ufm_devptr index; /* u32 [rows] or 0 */
	uint32_t first, rows, d_model;
	ufm_devptr norm_weight; /* f32 [d_model] or 0 */
	float norm_eps;
	ufm_devptr out;            /* [rows, d_model] */
	const uint32_t *few_index; /* host, [rows], rows <= UFM_FEW_ROWS, instead of index; or NULL */
	/* 0, UFM_F32: as computed. UFM_BF16, where the device has UFM_MATH_BF16: rounded to the nearest, ties to even. */
	ufm_dtype out_dtype;
} ufm_gather_args;

/* Scores of all experts, then the top_k largest, ties to the lower id, rank 0 the largest; norm_topk
 * divides by their sum plus UFM_NORM_TOPK_ADDEND. What a token gets depends on the token, the weights and how many tokens
 * the call has alone. */
typedef struct ufm_router_args {
	ufm_devptr x;      /* f32 [tokens, d_model], after the norm */
	ufm_devptr weight; /* f32 [experts, d_model] */
	uint32_t tokens, d_model, experts, top_k, norm_topk;
	ufm_scoring scoring;
	ufm_devptr ids;       /* out, i32 [tokens, top_k]; may be page-locked host memory */
	ufm_devptr gates;     /* out, f32 [tokens, top_k] */
	ufm_devptr logits;    /* workspace, f32 [tokens, experts] */
	uint32_t call_tokens; /* of the whole call, of which these may be a part; 0: tokens */
} ufm_router_args;

/* Routing that a caller made, as group and combine want it: ids_out[t, j] = ids[t, j] - first_id where that is
 * 0 … experts-1, else -1; gates_out[t, j] is the gate, exactly. Where a token names an expert again its gate is added to
 * that of the first time, in order, each sum rounded to f32, and the id becomes -1: so no expert has more rows than there
 * are tokens. */
typedef struct ufm_adopt_args {
	ufm_devptr ids;    /* i32 or i64 [tokens, top_k] */
	uint32_t id_bytes; /* 4 or 8 */
	ufm_devptr gates;  /* [tokens, top_k] */
	ufm_dtype gate_dtype;
	uint32_t tokens, top_k, experts;
	uint32_t first_id;
	ufm_devptr ids_out;   /* i32 [tokens, top_k]; may be page-locked host memory */
	ufm_devptr gates_out; /* f32 [tokens, top_k] */
} ufm_adopt_args;

typedef struct ufm_expert_rows {
	ufm_devptr block;   /* the expert's bytes on the device */
	uint32_t row, rows; /* its tokens: rows [row, row + rows) of x and y */
} ufm_expert_rows;

/*
 * Routing to entries, without the host: lays out the row table as the host would. Rows go by ascending
 * expert, tokens ascending within; an id repeated within one token has a row each time. An id outside
 * 0 … experts-1 has none: its row_of is UFM_ROW_NONE. Rows that are left over are token 0's, so that all
 * of row_token may be gathered; entries that are left over have block 0 and rows 0. The order never
 * depends on time.
 */
#define UFM_GROUP_MAX (1u << 30) /* tokens * top_k, at most */
#define UFM_FIRST_ROWS 512u      /* experts whose first rows travel with a launch, at most */
typedef struct ufm_group_args {
	ufm_devptr ids; /* i32 [tokens, top_k] */
	uint32_t tokens, top_k, experts;
	ufm_devptr blocks;    /* u64 [experts]: where each expert lies */
	ufm_devptr row_of;    /* out, u32 [tokens, top_k] */
	ufm_devptr row_token; /* out, u32 [tokens * top_k] */
	ufm_devptr entries;   /* out, ufm_expert_rows [min(experts, tokens * top_k)] */
	ufm_devptr ids_out;   /* out, a copy of ids; may be page-locked host memory; 0: none */
	/* Host, [experts], experts <= UFM_FIRST_ROWS: each expert's first row, in place of ascending experts; those that have
	 * rows leave no gap. No entries are made then: blocks and entries are 0. It stays as it is until the work has run.
	 * NULL: ascending. */
	const uint32_t *first_rows;
} ufm_group_args;

/* y[r] = expert(x[r]) for the rows of every entry; UFM_EUNSUPPORTED for an unknown activation. The
 * result of a row depends on the expert's bytes, the row, and how many rows this expert has in the call (call_rows)
 * alone: not on other entries, nor on how an expert's rows are cut into entries. */
typedef struct ufm_experts_args {
	const ufm_expert_desc *desc;    /* host; must outlive the work */
	const ufm_expert_rows *entries; /* page-locked host memory */
	uint32_t entry_count;
	ufm_devptr x;      /* [rows, d_model], of x_dtype */
	ufm_devptr hidden; /* workspace of hidden_bytes(desc, rows) bytes */
	ufm_devptr y;      /* f32 [rows, d_model]; may be page-locked host memory */
	/* How the products are computed; 0: UFM_MATH_FP32. UFM_EUNSUPPORTED where there is no such
	 * arithmetic. */
	ufm_math math;
	/* ufm_expert_rows [entry_count] in device memory, instead of entries; read when the work runs.
	 * None has more than rows_max rows, and one without rows does nothing. 0: entries. */
	ufm_devptr device_entries;
	uint32_t rows_max;
	/* Of device_entries only the rows [row_first, row_first + row_count) are computed, the first of which x, hidden and y
	 * begin with. row_count 0: all rows. */
	uint32_t row_first, row_count;
	/* UFM_BF16: x is bf16 [rows, d_model], for UFM_MATH_BF16 alone, and gives the bits of the f32 values that round to it;
	 * hidden then needs half of hidden_bytes(desc, rows). 0, UFM_F32: f32. */
	ufm_dtype x_dtype;
	/* Host, [entry_count]: the rows that the entry's expert has in the whole call, of which the entry may hold a part; read
	 * at the call. NULL: the entries' own rows, as for those on the device. */
	const uint32_t *call_rows;
} ufm_experts_args;

#define UFM_ROW_NONE UINT32_MAX

/* The most arithmetic that a device does. */
typedef struct ufm_peak {
	double gflops;   /* 10^9 operations a second, two for each product */
	char source[96]; /* "cublas 13.0, bf16", "published: H200, bf16": one line, for people */
	char shape[32];  /* of the product that was timed, "8192x8192x8192"; "": it has none */
} ufm_peak;

/* y[t] = residual[t] + sum over j, in order, of gates[t,j] * rows[row_of[t,j]]; each product and each
 * sum rounded to f32. UFM_ROW_NONE contributes nothing. residual 0: starts from the first product.
 * y may be residual. */
typedef struct ufm_combine_args {
	ufm_devptr rows;   /* f32 [*, d_model]; may be page-locked host memory */
	ufm_devptr row_of; /* u32 [tokens, top_k] */
	ufm_devptr gates;  /* f32 [tokens, top_k] */
	uint32_t tokens, top_k, d_model;
	ufm_devptr residual;
	uint64_t residual_stride;
	ufm_dtype residual_dtype;
	ufm_devptr y;
	uint64_t y_stride;
	ufm_dtype y_dtype;
	/* host, [tokens, top_k], tokens * top_k <= UFM_FEW_ROWS, instead of row_of; or NULL */
	const uint32_t *few_row_of;
} ufm_combine_args;

typedef struct ufm_backend {
	uint32_t abi_version;
	uint32_t struct_size;
	const char *name;
	/* What the matrices of experts may be stored in, whatever is beside them: 1 << ufm_dtype of plain ones, and 1 << ufm_format,
	 * UFM_FORMAT_PLAIN among them. */
	uint32_t dtypes;
	uint64_t formats;

	/* Devices usable now; UFM_EBACKEND with a reason where there is no driver. */
	ufm_status (*device_count)(uint32_t *count);
	ufm_status (*device_open)(const ufm_device_config *config, ufm_device **out);
	void (*device_close)(ufm_device *device); /* waits for work in flight; NULL is allowed */
	void (*device_get_info)(ufm_device *device, ufm_device_info *info);
	void (*device_get_memory)(ufm_device *device, ufm_device_memory *memory);

	/* Device memory: an address range of size_bytes (a multiple of the granularity), then chunks
	 * of it. mem_map takes memory from the device: UFM_EDEVMEM says bytes asked and free. Both calls
	 * do all or nothing; mem_unmap takes any granules, whichever calls mapped them. */
	ufm_status (*mem_reserve)(ufm_device *device, uint64_t size_bytes, ufm_devptr *base);
	void (*mem_release)(ufm_device *device, ufm_devptr base, uint64_t size_bytes);
	ufm_status (*mem_map)(ufm_device *device, ufm_devptr at, uint64_t size_bytes);
	ufm_status (*mem_unmap)(ufm_device *device, ufm_devptr at, uint64_t size_bytes);

	/* Page-locking for all devices of the backend; pieces of at most 1 GiB. host_view gives the
	 * device's address of registered memory. */
	ufm_status (*host_register)(void *memory, uint64_t size_bytes);
	void (*host_unregister)(void *memory, uint64_t size_bytes);
	ufm_status (*host_view)(ufm_device *device, const void *memory, ufm_devptr *out);

	/* native: a stream of the backend's API to wrap, or NULL. */
	ufm_status (*stream_open)(ufm_device *device, void *native, ufm_stream **out);
	void (*stream_close)(ufm_stream *stream); /* waits; NULL is allowed */
	ufm_status (*stream_sync)(ufm_stream *stream);
	/* Later work waits for the event's most recent record call. Never recorded: no effect. */
	ufm_status (*stream_wait)(ufm_stream *stream, ufm_event *event);

	ufm_status (*event_open)(ufm_device *device, ufm_event **out);
	void (*event_close)(ufm_event *event);
	ufm_status (*event_record)(ufm_event *event, ufm_stream *stream);
	/* *done = 1 when the last record has passed, or none was made. */
	ufm_status (*event_query)(ufm_event *event, int *done);
	ufm_status (*event_sync)(ufm_event *event, uint64_t wait_ns); /* UFM_ETIMEDOUT */
	/* From one passed record to another; 0 if `to` came first. UFM_EINVAL if not passed. */
	ufm_status (*event_elapsed)(ufm_event *from, ufm_event *to, uint64_t *elapsed_ns);

	/* Host addresses are passed as ufm_devptr. */
	ufm_status (*copy)(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
	                   uint64_t size_bytes);
	ufm_status (*fill)(ufm_stream *stream, ufm_devptr dst, uint8_t byte, uint64_t size_bytes);

	ufm_status (*gather)(ufm_stream *stream, const ufm_gather_args *args);
	ufm_status (*route)(ufm_stream *stream, const ufm_router_args *args);
	ufm_status (*experts)(ufm_stream *stream, const ufm_experts_args *args);
	ufm_status (*combine)(ufm_stream *stream, const ufm_combine_args *args);
	/* Bytes of ufm_experts_args.hidden for `rows` rows. */
	uint64_t (*hidden_bytes)(const ufm_expert_desc *desc, uint32_t rows);
	ufm_status (*group)(ufm_stream *stream, const ufm_group_args *args);

	/* Reads size_bytes (a multiple of 16) of device memory from `at` (16-byte aligned) once, as fast as
	 * the device can, and leaves the xor of its 32-bit words at `out`, outside of what is read. For
	 * probes of the memory's rate. */
	ufm_status (*read)(ufm_stream *stream, ufm_devptr at, uint64_t size_bytes, ufm_devptr out);

	/* As that many calls of copy, but for blocks that are too small to fill the link one by one. */
	ufm_status (*copies)(ufm_stream *stream, const ufm_copies_args *args);

	ufm_status (*adopt)(ufm_stream *stream, const ufm_adopt_args *args);

	/* Optional: NULL, or beyond the end of an older table. The rate of large products of `dtype` weights whose results
	 * are as exact as `math` (0: UFM_MATH_FP32) promises, by what is not this backend's own: the vendor's library, or
	 * else what the vendor publishes, so that slow kernels cannot lower it. Waits for the stream; may take seconds and
	 * device memory of its own, which is given back before it returns. UFM_EUNSUPPORTED: not known; UFM_EFILE: a
	 * library that the user named cannot be used. */
	ufm_status (*peak)(ufm_stream *stream, ufm_dtype dtype, ufm_math math, ufm_peak *out);

	/* Optional, too. on 1: until it is turned off, work enqueued on the stream while nothing is before it may be done by the
	 * thread that enqueues it: that thread wants to wait for it anyway. */
	void (*stream_inline)(ufm_stream *stream, int on);

	/* Optional, too. gather, then route of what it gave (route->x is gather->out), then group of that unless it is NULL: what
	 * these three calls do, in fewer launches where the device can. */
	ufm_status (*route_tokens)(ufm_stream *stream, const ufm_gather_args *gather,
	                           const ufm_router_args *route, const ufm_group_args *group);
} ufm_backend;

typedef const ufm_backend *(*ufm_backend_entry_fn)(const ufm_backend_core *core);

#ifdef __cplusplus
}
#endif
#endif
