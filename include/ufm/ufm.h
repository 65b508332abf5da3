/* SPDX-License-Identifier: MIT */
#ifndef UFM_UFM_H
#define UFM_UFM_H

/*
 * ufm.h: the stable interface of libufm.
 *
 * libufm runs routed (mixture-of-experts) layers whose expert bank does not fit in device
 * memory. An expert is one block of bytes. Blocks lie in a host tier and are brought to the device
 * just in time, inside a budget that is kept to the byte.
 *
 * Ownership, from the outside in; each object holds a reference to the one before it:
 *
 *     ufm_bank     what the experts are: geometry and where their bytes come from (read-only)
 *     ufm_host     the host tier: every block of a bank in host memory, shared by all engines
 *     ufm_engine   one device: slots for experts, a ring for streaming, a budget, counters
 *     ufm_layer    one routed layer on an engine: norm, router, experts, residual
 *
 * Two levels are public. A runtime that has its own kernels uses the PAGER level: it leases experts
 * and gets device addresses. A model uses the LAYER level: one call computes a routed layer. Both
 * may be used on the same engine.
 *
 * What a model would give within a budget, before anything is run, is planned by <ufm/plan.h>.
 *
 * Simple use, layer level (a complete program is examples/embed.c):
 *
 *     ufm_bank_synthetic(&bank_config, &bank);
 *     ufm_host_open(bank, NULL, &host);
 *     ufm_engine_open(host, &engine_config, &engine);
 *     ufm_layer_open(engine, &layer_config, &layer);
 *     ufm_moe_forward(layer, &call, &ticket);
 *     ufm_ticket_wait(engine, ticket, UFM_WAIT_FOREVER);
 *
 * Conventions.
 * - Every struct begins with `size_t struct_size`, which the caller sets (UFM_STRUCT_INIT), also in those
 *   that are written. New fields go last. What a caller's struct lacks takes its default and is not
 *   written; what it has that this library does not know must be 0, and stays as it is where it is
 *   written. So program and library may each be the older one. A field that is 0 takes its default.
 *   No size have ufm_part and ufm_plan_phase, which have room of their own, ufm_ticket, which is a number,
 *   ufm_extent, whose array says its stride, and ufm_counter_desc, which the library makes and others only read.
 * - Functions return ufm_status; outputs are written on success only. ufm_last_error() gives the
 *   calling thread's last failure in one line, naming what was wrong and what was expected.
 * - NULL where an object or a pointer is needed is UFM_EINVAL, and 0 or NULL where a function gives no
 *   status; where NULL may stand, the function says so. Close functions take NULL. Layers, leases and
 *   streams close before their engine; bank and host may be closed as soon as the next object is open,
 *   which holds a reference.
 * - Sizes are in bytes, times in nanoseconds; the unit is the end of the name.
 * - Threads: different engines are independent. On one engine the pager level may be called from
 *   any thread; layer calls are serialised inside. Closing an object while another thread uses it
 *   is the caller's error.
 * - Fork: a child process has none of the threads behind a host tier or engine of its parent, and on a
 *   GPU none of its memory. There every call on them, their layers, leases and streams returns
 *   UFM_EINVAL at once, figures are 0, texts "", and closing does nothing: the parent closes what is its own,
 *   and goes on undisturbed. Banks are usable in both. A child opens a host tier and an engine of its own;
 *   a GPU's driver may refuse it after its parent has used the device. This is about fork() of the C
 *   library, which what it is done by (Python's os.fork) calls.
 * - Device memory is allocated when an engine opens and when it is resized, never inside a step. So a
 *   runtime can lend a KV cache what the experts hold: ufm_engine_resize to less, and later to more.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define UFM_API __attribute__((visibility("default")))
#else
#define UFM_API
#endif

#define UFM_VERSION_MAJOR 0
#define UFM_VERSION_MINOR 3
#define UFM_VERSION_PATCH 0

/* "0.3.0". Static storage. */
UFM_API const char *ufm_version(void);

/* Zeroes *s and sets its struct_size. */
#define UFM_STRUCT_INIT(s) ufm_struct_init((s), sizeof(*(s)))
UFM_API void ufm_struct_init(void *config, size_t struct_size);
/* The size of a struct of this header or plan.h by its name ("ufm_moe_call"), as the library was built; 0 for what is
 * none. Bindings that declare the structs anew compare theirs. */
UFM_API size_t ufm_sizeof(const char *name);

/* ------------------------------------------------------------------ status */

/* Grouped by what was hurt: this call, this expert, this bank, the engine. */
typedef enum ufm_status {
	UFM_OK = 0,
	/* this call; nothing changed */
	UFM_EINVAL = -1,       /* an argument or option is wrong */
	UFM_EBUSY = -2,        /* leases hold what this call needs; try again after a release */
	UFM_ETIMEDOUT = -3,    /* wait_ns passed first */
	UFM_ENOMEM = -4,       /* host memory */
	UFM_EBUDGET = -5,      /* the smallest working set does not fit the device budget */
	UFM_EUNSUPPORTED = -6, /* understood, but not available here */
	UFM_EFILE = -7,        /* a file or folder cannot be opened, read or written */
	UFM_ECANCELED = -8,    /* the caller's own function said to stop */
	/* one expert; others stay usable */
	UFM_EEXPERT_IO = -20, /* its bytes could not be read */
	/* the bank */
	UFM_EFORMAT = -40, /* malformed file */
	/* the engine or its device */
	UFM_EDEVMEM = -60,  /* device memory is exhausted */
	UFM_EDEVICE = -61,  /* device lost; only closing still works */
	UFM_EBACKEND = -62, /* no such backend, or its plugin was refused */
} ufm_status;

/* One English phrase for a status. Static storage; never NULL. */
UFM_API const char *ufm_strerror(ufm_status status);

/* The calling thread's most recent failure in one line, "" if none. Valid until the thread's next
 * call into libufm. */
UFM_API const char *ufm_last_error(void);

/* Receives notes and warnings, one line each, without a newline. May be called from any thread. */
typedef enum ufm_log_level { UFM_LOG_INFO = 1, UFM_LOG_WARN = 2 } ufm_log_level;
typedef void (*ufm_log_fn)(void *ctx, ufm_log_level level, const char *line);
/* Process-wide; call before any other function. Default: warnings to stderr. NULL: silence. */
UFM_API void ufm_set_log(ufm_log_fn fn, void *ctx);

#define UFM_WAIT_FOREVER UINT64_MAX

/* ------------------------------------------------------------------ experts */

/* Matrices of experts may be any of them, biases F32 or BF16, tokens and gates any. Sums are f32 whatever these are. */
typedef enum ufm_dtype { UFM_F32 = 1, UFM_BF16 = 2, UFM_F16 = 3 } ufm_dtype;
/* Bytes of one element; 0 for an unknown dtype. */
UFM_API size_t ufm_dtype_bytes(ufm_dtype dtype);

/* How a device computes the products of experts; sums are always f32. FP32: as f32 does, with the error
 * of a plain product. TF32, BF16: weights and inputs are rounded to it first. */
typedef enum ufm_math { UFM_MATH_FP32 = 1, UFM_MATH_TF32 = 2, UFM_MATH_BF16 = 3 } ufm_math;

/* A part's place in the arithmetic. Matrices are row-major [rows, cols], y = W x + b. */
typedef enum ufm_role {
	UFM_ROLE_UP = 1,    /* [d_hidden, d_model] */
	UFM_ROLE_UP_BIAS,   /* [d_hidden] */
	UFM_ROLE_GATE,      /* [d_hidden, d_model] */
	UFM_ROLE_GATE_BIAS, /* [d_hidden] */
	UFM_ROLE_DOWN,      /* [d_model, d_hidden] */
	UFM_ROLE_DOWN_BIAS, /* [d_model] */
	/* What scales a matrix whose format carries no scales; one element for each of its groups (ufm_part.group_rows). */
	UFM_ROLE_UP_SCALE, /* [ceil(rows / group_rows), ceil(cols / group_cols)] of the matrix */
	UFM_ROLE_GATE_SCALE,
	UFM_ROLE_DOWN_SCALE,
	UFM_ROLE_UP_ZERO, /* the same shape: what is taken from each element of a UFM_FORMAT_U4 */
	UFM_ROLE_GATE_ZERO,
	UFM_ROLE_DOWN_ZERO,
	UFM_ROLE_UP_FACTOR, /* [1]: multiplies every scale of the matrix */
	UFM_ROLE_GATE_FACTOR,
	UFM_ROLE_DOWN_FACTOR,
} ufm_role;

/*
 * How the elements of a part are stored (docs/formats.md says it bit by bit). Blocks lie along a row, whose length is
 * a whole number of them. The first group carries its scales in its blocks, as GGUF files have them. Of the second
 * an element is worth (value - zero) * (scale * factor): scale and factor of its group, each product rounded to f32;
 * zero 8 for UFM_FORMAT_U4 without zero points, and 0 for the others. The last are for scales and zero points alone.
 */
typedef enum ufm_format {
	UFM_FORMAT_PLAIN = 0, /* elements of dtype */
	/* elements and bytes of a block */
	UFM_FORMAT_Q8_0 = 1,   /* 32, 34 */
	UFM_FORMAT_Q4_0 = 2,   /* 32, 18 */
	UFM_FORMAT_Q5_0 = 3,   /* 32, 22 */
	UFM_FORMAT_Q4_K = 4,   /* 256, 144 */
	UFM_FORMAT_Q5_K = 5,   /* 256, 176 */
	UFM_FORMAT_Q6_K = 6,   /* 256, 210 */
	UFM_FORMAT_IQ4_NL = 7, /* 32, 18 */
	UFM_FORMAT_IQ4_XS = 8, /* 256, 136 */
	UFM_FORMAT_MXFP4 = 9,  /* 32, 17 */

	UFM_FORMAT_E4M3 = 16, /* 8 bits, as float8_e4m3fn */
	UFM_FORMAT_E2M1 = 17, /* 4 bits, the element of the lower column in the low ones */
	UFM_FORMAT_U4 = 18,   /* 4 bits, unsigned, the same */

	UFM_FORMAT_E8M0 = 24, /* 8 bits: 2^(value - 127); 255 is a NaN. Scales */
	UFM_FORMAT_U8 = 25,   /* 8 bits, unsigned. Zero points */
} ufm_format;
/* "Q4_K", "plain"; NULL for an unknown one. Static storage. */
UFM_API const char *ufm_format_name(ufm_format format);
/* Bytes of so many consecutive elements; 0 for UFM_FORMAT_PLAIN, an unknown format, or no whole number of blocks. */
UFM_API uint64_t ufm_format_bytes(ufm_format format, uint64_t elements);

/* Applied to `up` without a gate, to `gate` with one (then multiplied by `up`). */
typedef enum ufm_activation {
	UFM_ACT_GELU = 1,      /* x * Phi(x), the exact (erf) form */
	UFM_ACT_SILU = 2,      /* x * sigmoid(x); with act_alpha x * sigmoid(act_alpha * x) */
	UFM_ACT_GELU_TANH = 3, /* x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))) */
	UFM_ACT_RELU2 = 4,     /* max(x, 0)^2 */
} ufm_activation;

/* Never grows: what comes later has its room here. */
typedef struct ufm_part {
	ufm_role role;
	ufm_dtype dtype;       /* of plain elements; 0 with a format */
	uint32_t rows, cols;   /* in elements; cols is 1 for a bias and a factor */
	uint64_t offset_bytes; /* within the block; a multiple of 64 */
	uint64_t size_bytes;   /* 0, or what rows * cols elements take */
	uint32_t format;       /* ufm_format */
	/* Of a matrix that a part beside it scales: so many rows and columns share a scale; above 0, group_cols a multiple of 16
	 * or at least cols. 0 for all else. */
	uint32_t group_rows, group_cols;
	uint32_t reserved[3]; /* 0 */
} ufm_part;

#define UFM_PARTS_MAX 16

/*
 * What an expert is, as data. Without a UFM_ROLE_GATE part: y = down(act(up(x))); with one:
 * y = down(g * u), where
 *
 *     g = min(act(min(gate(x), gate_limit)), activated_limit)
 *     u = clamp(up(x), -up_limit, up_limit) + up_offset
 *
 * and every product has its bias added first. A parameter of that which is 0 changes nothing; all are 0 without
 * a gate. Limits and act_alpha are finite and not below 0, up_offset is finite; a NaN passes the limits and stays
 * one. Every expert of a bank has the same description.
 */
typedef struct ufm_expert_desc {
	size_t struct_size;
	uint32_t d_model, d_hidden;
	ufm_activation activation;
	uint32_t part_count;
	ufm_part parts[UFM_PARTS_MAX];
	uint64_t expert_bytes; /* payload: end of the last part */
	uint64_t block_bytes;  /* stride: expert_bytes rounded up to 4096 */
	/* of a gated expert */
	float act_alpha;       /* UFM_ACT_SILU only: sigmoid(act_alpha * gate); 0: 1 */
	float gate_limit;      /* of the gate before its activation, from above; 0: none */
	float activated_limit; /* of the gate after its activation, from above; 0: none */
	float up_limit;        /* of up, from both sides; 0: none */
	float up_offset;       /* added to up after its limit */
} ufm_expert_desc;

typedef enum ufm_expert_kind {
	UFM_EXPERT_MLP = 1,      /* up, down; GELU */
	UFM_EXPERT_MLP_BIAS = 2, /* up, down with biases; GELU (the reference expert) */
	UFM_EXPERT_GATED = 3,    /* gate, up, down; SiLU */
} ufm_expert_kind;

/* Fills *desc, whose struct_size is set, with the standard layout of a kind. Dimensions 1 … 2^20.
 * UFM_EINVAL names the wrong dimension. */
UFM_API ufm_status ufm_expert_desc_init(ufm_expert_desc *desc, ufm_expert_kind kind,
                                        uint32_t d_model, uint32_t d_hidden, ufm_dtype dtype);

/* The same with matrices in a format and biases in F32. What such matrices have beside them is as most published
 * checkpoints have it: of UFM_FORMAT_E4M3 an F32 scale for 128 x 128 elements, of E2M1 an E8M0 for 32 of a row, of U4 an F16 for
 * 128 of a row. */
UFM_API ufm_status ufm_expert_desc_init_format(ufm_expert_desc *desc, ufm_expert_kind kind,
                                               uint32_t d_model, uint32_t d_hidden,
                                               ufm_format format);

/* The part with a role, or NULL. */
UFM_API const ufm_part *ufm_expert_part(const ufm_expert_desc *desc, ufm_role role);

/* Writes what a matrix or a bias of an expert is worth, whatever its format: out is f32 [rows, cols] of the part with `role`. `block`
 * has the expert's expert_bytes bytes, aligned to 64. The definition that every backend's arithmetic follows. UFM_EINVAL:
 * no such part, no matrix or bias, or a description that a bank would refuse. */
UFM_API ufm_status ufm_expert_expand(const ufm_expert_desc *desc, const void *block, ufm_role role,
                                     float *out);

/* ------------------------------------------------------------------ bank */

typedef struct ufm_bank ufm_bank;

typedef struct ufm_bank_info {
	size_t struct_size;
	uint32_t layers, experts;    /* routed layers; experts a layer */
	const ufm_expert_desc *desc; /* the bank's own: valid while it is open */
	uint64_t bank_bytes;         /* layers * experts * expert_bytes */
	/* of a GGUF file: how many kinds of layers it was opened from (ufm_bank_checkpoint_config.geometry); else 1 */
	uint32_t geometries;
} ufm_bank_info;

typedef struct ufm_bank_synthetic_config {
	size_t struct_size;
	uint32_t layers;             /* default 1 */
	uint32_t experts;            /* a layer */
	const ufm_expert_desc *desc; /* copied */
	uint64_t seed;
} ufm_bank_synthetic_config;

/* Weights made from the seed: uniform with variance 1/fan_in, biases uniform in ±0.02. A matrix with a format has random
 * bits, no NaN or infinity among them, and scales by which its elements have that variance. The same bytes on every
 * machine. */
UFM_API ufm_status ufm_bank_synthetic(const ufm_bank_synthetic_config *config, ufm_bank **out);

typedef struct ufm_bank_memory_config {
	size_t struct_size;
	uint32_t layers; /* default 1 */
	uint32_t experts;
	const ufm_expert_desc *desc; /* copied */
	/* blocks[layer * experts + expert]: expert_bytes readable bytes each; the array and the blocks
	 * stay the caller's and must outlive the bank. */
	const void *const *blocks;
} ufm_bank_memory_config;

/* Experts that already lie in the caller's memory. */
UFM_API ufm_status ufm_bank_memory(const ufm_bank_memory_config *config, ufm_bank **out);

/* Opens a packed file (docs/formats.md); a folder, a name that ends with .safetensors, .json or .gguf, and a file
 * that begins with "GGUF" are opened by ufm_bank_checkpoint with its defaults. Reads headers only. UFM_EFILE, UFM_EFORMAT. */
UFM_API ufm_status ufm_bank_open(const char *path, ufm_bank **out);

typedef struct ufm_bank_checkpoint_config {
	size_t struct_size;
	/* what F16 weights become: UFM_F32, UFM_BF16, or UFM_F16 where the backend reads it; default: UFM_F32, but those of GGUF
	 * files stay what they are */
	ufm_dtype f16_as;
	/* UFM_ACT_GELU or UFM_ACT_SILU; default: what the config.json beside the weights says, or what is known of a GGUF
	 * file's architecture; one that it says and that is none of these is refused whatever stands here */
	ufm_activation activation;
	/* only routed layers whose number in the model is in [begin, end); both 0: all */
	uint32_t layer_begin, layer_end;
	/* default: the stack of most routed layers (docs/formats.md). Else the one whose layers' names begin with
	 * it: "mtp.layers", "talker", "model.layers.61" */
	const char *prefix;
	/*
	 * GGUF files store layers in different types, and a bank has one description. n: the layers of the n-th kind, in
	 * the order of each kind's first layer; ufm_bank_info.geometries says how many there are, and
	 * ufm_bank_layer_number which layers a bank has. A bank for each kind shares one budget by ufm_engines_divide.
	 * 0: all layers must be alike; else UFM_EINVAL, with a line that lists the kinds and their layers.
	 */
	uint32_t geometry;
} ufm_bank_checkpoint_config;

/* The routed experts of a checkpoint that others wrote (docs/formats.md): a .safetensors file, an index
 * of shards (.safetensors.index.json), a GGUF file (any of those that a model was split into opens all of them), or a
 * folder with one of these. Reads headers only. F32 and BF16 stay what they are, and so do quantised experts: GGUF's blocks, and those
 * whose config.json says how they are quantised. UFM_EFORMAT, with one line, for what breaks a rule of the format and for experts that
 * would be computed wrongly; UFM_EINVAL when nothing says the activation. config may be NULL. */
UFM_API ufm_status ufm_bank_checkpoint(const char *path, const ufm_bank_checkpoint_config *config,
                                       ufm_bank **out);

/* Where one part of one expert lies in a file: element (row, col) at offset_bytes + (row * row_stride +
 * col * col_stride) * bytes of an element. So a part may be a slice of a larger tensor (row_stride its
 * width), every second row (twice its width), every second column (col_stride 2), transposed (row_stride
 * 1, col_stride the width), or several of these.
 * A part with a format lies there as its bytes: dtype is 0, both strides count bytes, and an element of the above is
 * one. A row is as many bytes as its columns take (ufm_format_bytes), one after the other (col_stride 1, or 0, which
 * is the same); row_stride says where the next row begins, so rows may be a slice of longer ones or take turns. */
typedef struct ufm_extent {
	uint32_t file;   /* index into paths */
	ufm_dtype dtype; /* as it lies there; converted to the part's; 0 for a part with a format */
	uint64_t offset_bytes; /* of element (0, 0); any alignment */
	/* elements; both 0: rows one after the other. Else above 0, but along an axis of one element, where
	 * it counts for nothing. */
	uint64_t row_stride, col_stride;
} ufm_extent;

typedef struct ufm_bank_files_config {
	size_t struct_size;
	uint32_t layers; /* default 1 */
	uint32_t experts;
	const ufm_expert_desc
		*desc; /* what a block becomes; gaps between its parts become zero; copied */
	const char *const *paths;
	uint32_t path_count;       /* at most 4096 */
	const ufm_extent *extents; /* [layers][experts][desc.part_count], in the order of desc.parts */
	size_t extent_bytes;       /* sizeof(ufm_extent) */
	/* [layers]: the model's own numbers, for messages and ufm_bank_layer_number; NULL: 0 … layers-1 */
	const uint32_t *layer_numbers;
} ufm_bank_files_config;

/* Experts whose bytes lie where the caller says: for a caller that knows a checkpoint better than
 * ufm_bank_checkpoint does. All that config points to is copied. The files must stay: they are opened here
 * for their sizes, and again when experts are read. From F32, BF16 and F16 to F32 (exact) or BF16 (nearest,
 * ties to even); a part in F16 comes from F16 alone. UFM_EFILE for what is no regular file that can be opened; UFM_EFORMAT, with file, layer,
 * expert and part, for an extent that ends beyond its file; UFM_EINVAL for all else that is wrong. */
UFM_API ufm_status ufm_bank_files(const ufm_bank_files_config *config, ufm_bank **out);

typedef struct ufm_bank_callback_config {
	size_t struct_size;
	uint32_t layers; /* default 1 */
	uint32_t experts;
	const ufm_expert_desc *desc; /* copied */
	ufm_status (*read)(void *ctx, uint32_t layer, uint32_t expert, void *block);
	void *ctx;
	/* NULL, or called once when the bank is gone: when it and all that holds a reference to it are closed, by
	 * the thread that closes the last of them. From then on neither function is called. */
	void (*closed)(void *ctx);
	/* [layers]: the model's own numbers, for messages and ufm_bank_layer_number; NULL: 0 … layers-1; copied */
	const uint32_t *layer_numbers;
} ufm_bank_callback_config;

/*
 * Experts whose bytes the caller's function writes, for weights in memory of the caller's that need not stay.
 *
 * read(ctx, layer, expert, block) writes expert_bytes to `block`, which is valid during the call alone. What lies
 * between the parts is zero already and may be left out. `layer` counts from 0, whatever layer_numbers says. Every
 * ufm_host_open and ufm_bank_save calls it once for each expert, ufm_bank_read for the one, and nothing else does:
 * once the last host tier is open, what it reads from may go.
 *
 * Threads: ufm_bank_read and ufm_bank_save call it from the caller's thread, one expert after the other. ufm_host_open
 * calls it from its fill_threads, of which the calling thread is one, side by side, and with a `block` that begins at a
 * multiple of 4096. They take the experts in the order of layers and, within a layer, of experts: each thread sees them
 * rising, and when one is asked for, some thread has taken every earlier one. Calls may end in another order, so a
 * layer is done with when as many of its calls have ended as it has experts; with fill_threads 1 the whole order holds.
 * When ufm_host_open returns no call is under way.
 *
 * Anything but UFM_OK ends ufm_host_open, ufm_bank_read or ufm_bank_save with that status, or with UFM_EEXPERT_IO
 * where it is none of ufm_status; the message names layer and expert. Each other thread may ask for one more before
 * it stops. The function may use libufm, but not what is being opened or saved by the call that it is called from.
 *
 * Where ufm_bank_callback fails there is no bank, and `closed` is not called. UFM_EINVAL: what is wrong in config.
 */
UFM_API ufm_status ufm_bank_callback(const ufm_bank_callback_config *config, ufm_bank **out);

/* The model's own number of a bank's layer (0 … layers-1): banks count routed layers only. `layer`
 * itself for banks that are no checkpoint and were told no numbers. */
UFM_API uint32_t ufm_bank_layer_number(const ufm_bank *bank, uint32_t layer);

/* Writes any bank as a packed file: to a new file beside it (`path`.PROCESS.N.tmp), which is renamed when it is on
 * disk. So whoever opens `path` finds the old or the new one whole; of two that save to one path, in one process or
 * several, the one that ends later stays. A link is followed: what it points to is replaced, and the link stays.
 * UFM_EFILE for a link to nothing and for what is no regular file (a folder, a device, a pipe); on failure nothing is
 * left but what was there. */
UFM_API ufm_status ufm_bank_save(ufm_bank *bank, const char *path);

UFM_API ufm_status ufm_bank_get_info(const ufm_bank *bank, ufm_bank_info *info);
/* Copies one expert's expert_bytes bytes to `block`. Any thread; for tools and tests. */
UFM_API ufm_status ufm_bank_read(const ufm_bank *bank, uint32_t layer, uint32_t expert,
                                 void *block);
UFM_API void ufm_bank_close(ufm_bank *bank);

/* ------------------------------------------------------------------ host tier */

typedef struct ufm_host ufm_host;

/* What tests and people in search of a fault ask for. */
typedef struct ufm_host_debug {
	size_t struct_size;
	const char *store_filter; /* wraps the store: "fault:layer=L,expert=E" makes that read fail */
} ufm_host_debug;

typedef struct ufm_host_config {
	size_t struct_size;
	const char *backend;   /* "auto" (default), "cpu", or a plugin's name */
	uint32_t fill_threads; /* default: the cores this process may use, for a bank from files at
	                          * least 8 */
	uint32_t pageable;     /* 1: ordinary memory, not page-locked (asked for by name, never a
	                          * fallback) */
	/* NULL, or told how far the loading is: first 0 of total_bytes, then rising, and total_bytes once,
	 * when all is loaded and page-locked; after a failure not that far. Called from the threads that
	 * fill, one call at a time; they wait for it, so it should be short. */
	void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
	void *progress_ctx;
	/* NULL, or asked before each block and before each GiB that is page-locked: anything but 0 ends
	 * the loading with UFM_ECANCELED, and nothing of it is left. Called from all threads that fill,
	 * also side by side. */
	int (*stop)(void *ctx);
	void *stop_ctx;
	const ufm_host_debug *debug; /* NULL: nothing of it */
} ufm_host_config;

/* Loads every block into host memory, page-locked for the backend's devices. Large pieces of files are
 * read past the page cache unless that holds them; a fork meanwhile leaves the memory out of the child. On failure names the
 * expert or the bytes missing: UFM_ENOMEM for more than 80 % of the memory available to this process
 * (pageable: more than all of it). config may be NULL. */
UFM_API ufm_status ufm_host_open(ufm_bank *bank, const ufm_host_config *config, ufm_host **out);
UFM_API void ufm_host_close(ufm_host *host);

/* ------------------------------------------------------------------ engine */

typedef struct ufm_engine ufm_engine;

/* Whether the CPU computes experts that are not on the device where they lie, beside the copies of
 * others. */
typedef enum ufm_cpu_assist {
	/* Measures. When the engine opens: off unless link and CPU together move at least 5 % more bytes than the
	 * link alone. Then, for short calls and for long ones apart, what a miss costs with the CPU and
	 * without: the cheaper way is taken and the other looked at again now and then
	 * (ufm_engine_get_cpu_choice). */
	UFM_CPU_AUTO = 0,
	UFM_CPU_OFF = 1,
	UFM_CPU_ON = 2, /* whenever it is expected to end a layer earlier */
} ufm_cpu_assist;

/* An address in device memory. On the cpu backend it is a host address. */
typedef uint64_t ufm_devptr;
/* An ordered queue of work on a device. */
typedef struct ufm_stream ufm_stream;

/* What tests and people in search of a fault ask for. */
typedef struct ufm_engine_debug {
	size_t struct_size;
	uint32_t poison_free_slots; /* 1: fill a slot with NaN before it is refilled */
} ufm_engine_debug;

typedef struct ufm_engine_config {
	size_t struct_size;
	uint32_t device_index;
	uint64_t vram_target_bytes; /* default: all that is free and can be had */
	uint64_t headroom_bytes;    /* kept free below the target */
	uint64_t vram_limit_bytes;  /* gives the device the memory of a smaller card; 0: its own */
	double link_gbps;           /* cpu backend: emulated link, decimal GB/s each way; 0: off */
	uint32_t compute_threads;   /* cpu backend; default: the cores this process may use */
	const char *policy;         /* who leaves: "cycle" (default) or another of docs/policies.md */
	uint32_t slots_max;         /* 0: as many as the budget holds */
	uint32_t ring_slots;   /* of the slots, how many serve as the ring; default 4, or for blocks
	                               up to 2 MiB, of which a copy brings several, up to slots / 8 */
	uint32_t resident_all; /* 1: every expert gets a slot, or opening fails (UFM_EDEVMEM) */
	/* layer level; max_tokens = 0 makes a pager-only engine */
	uint32_t max_tokens;      /* bounds the device workspace: the row table, f32 [max_tokens *
	                           * top_k_max, d_model], and what a piece of at most 8192 rows needs */
	uint32_t call_tokens_max; /* most tokens one call may bring; default max_tokens. The row table
	                           * of longer calls lies in page-locked host memory. */
	uint32_t top_k_max;
	uint64_t arena_bytes; /* device bytes for layers and ufm_engine_alloc; see ufm_layer_bytes */
	/* the CPU path of the layer level */
	uint32_t cpu_assist;        /* ufm_cpu_assist */
	uint32_t cpu_threads;       /* default: the cores this process may use less one */
	uint32_t cpu_share_percent; /* 1 … 100: the CPU computes so much of every layer's misses, the
	                             * lightest, rounded down, and auto is on; default 0: whatever ends the
	                             * layer earliest, which depends on timing */
	/* spans that ufm_engine_write_timeline can tell of, at most 2^24; 0: none are kept */
	uint32_t timeline_events;
	/* How the device computes the products of experts; default UFM_MATH_FP32. UFM_EUNSUPPORTED where
	 * the backend has no such arithmetic: `cpu` has FP32 alone. The CPU path always has FP32. */
	ufm_math math;
	/* Host memory of the ring that ufm_engine_write_routing tells of; a token takes 2 * layers *
	 * top_k_max of it. 0: none is kept. UFM_EINVAL when it holds no token, without max_tokens, and for
	 * more than 65535 experts a layer. */
	uint64_t routing_bytes;
	/* 1: begins with the smallest working set, to be resized later (ufm_engines_divide); vram_target_bytes is 0 then */
	uint32_t smallest;
	const ufm_engine_debug *debug; /* NULL: nothing of it */
} ufm_engine_config;

/* UFM_EBUDGET says what the smallest working set needs. UFM_EDEVMEM says bytes asked and free. config may be
 * NULL. */
UFM_API ufm_status ufm_engine_open(ufm_host *host, const ufm_engine_config *config,
                                   ufm_engine **out);
/* Waits for work in flight. Leases not released are released. Layers must be closed before. */
UFM_API void ufm_engine_close(ufm_engine *engine);

/*
 * Changes the budget between steps, by mapping or unmapping slots, so that memory can pass between the
 * experts and, say, a KV cache. vram_target_bytes as in ufm_engine_config; 0: all that is free and what
 * the engine holds. Headroom, workspace, arena and slots_max stay. No address changes. Waits for a
 * layer call on another thread, for copies in flight and for the last uses of slots that go.
 *
 * Growing adds empty slots, which fill by use or ufm_prefetch. Shrinking keeps as many experts as fit,
 * those that would leave last; some are moved within device memory. No expert that stays is loaded
 * again, and leases keep their slots.
 *
 * Nothing has changed after UFM_EBUDGET and UFM_EINVAL (as ufm_engine_open; with resident_all every
 * expert must fit), UFM_EDEVMEM (the device lacks the memory: bytes asked and free) and UFM_EBUSY (leases
 * hold slots that must go). When the device fails while it shrinks, the old budget holds and some
 * experts may have lost their slots.
 */
UFM_API ufm_status ufm_engine_resize(ufm_engine *engine, uint64_t vram_target_bytes);

/* Between which budgets an engine can be resized, in bytes of vram_target_bytes. */
typedef struct ufm_engine_bounds {
	size_t struct_size;
	uint64_t least_bytes; /* of the smallest working set */
	uint64_t now_bytes;   /* that what it holds now needs */
	uint64_t
		most_bytes; /* more are of no use: every expert has a slot, or all that were reserved are there */
} ufm_engine_bounds;
/* Any thread. */
UFM_API ufm_status ufm_engine_get_bounds(ufm_engine *engine, ufm_engine_bounds *bounds);
/*
 * Gives at least so many bytes of device memory back, rounded up to what the device maps at once: ufm_engine_resize to as
 * little less as that takes. So a runtime whose own allocator ran out can try the allocation again. *freed_bytes (may be
 * NULL): how many it was. UFM_EBUDGET, and nothing changes: the smallest working set would not be left, and how many bytes
 * could be given back; else as ufm_engine_resize.
 */
UFM_API ufm_status ufm_engine_make_room(ufm_engine *engine, uint64_t size_bytes,
                                        uint64_t *freed_bytes);

/*
 * Divides one budget among engines of one device, for a model whose layers have experts of several geometries: a bank, a host
 * tier and an engine for each (opened with `smallest`). Each gets at least its smallest working set, and of the rest a share
 * by the bytes of experts that its calls have used since the last division (where there were none by its bank's), none more than it can
 * use. Some shrink before others grow, so together they never hold more than total_bytes, workspaces included, if they did
 * not before. Between steps; as often as the model's habits change. bytes, [n] or NULL: what each may hold now. UFM_EBUDGET:
 * the smallest working sets together need more, and nothing has changed; else as ufm_engine_resize, where what was resized
 * before the failure stays.
 */
UFM_API ufm_status ufm_engines_divide(ufm_engine *const *engines, uint32_t n, uint64_t total_bytes,
                                      uint64_t *bytes);

/*
 * One limit for a device's engines and another library's allocator (PyTorch's), by the driver's count. What an allocation lacks
 * the engines give back, so that not a step is repeated but an allocation takes longer; between steps they take again what
 * nobody needs. The allocator gets its memory from ufm_lender_alloc or, where it can pass no object, from ufm_lent_alloc. What
 * the process holds besides (a context, memory of a third allocator) counts, too.
 *
 * Threads: any. An allocation waits for a layer call on another thread, as ufm_engine_resize does, and for allocations and
 * settling of the same lender; giving back waits for neither. The lender's lock is taken before those of its engines and held
 * while the driver is asked; under it nobody else is called. So a caller may hold its own allocator's lock, unless its layer
 * calls, the function of ufm_set_log or those of the config wait for that. The driver's functions act on the calling thread's
 * device context, which must be that of the engines, as it is where PyTorch allocates.
 */
typedef struct ufm_lender ufm_lender;

typedef struct ufm_lender_config {
	size_t struct_size;
	/* Of one device, each once; copied. They must stay open longer than the lender. Several models in one process share one
	 * limit by one lender with the engines of all. */
	ufm_engine *const *engines;
	uint32_t engine_count;
	uint64_t limit_bytes; /* all that the process may hold on the device by the driver's count */
	/* of that count, what other processes hold; what they take later counts as ours */
	uint64_t others_bytes;
	/* Of the driver: shapes of cuMemAlloc_v2, cuMemFree_v2 and cuMemGetInfo_v2; 0 is success. Called from the threads that
	 * allocate, free and settle. `release` is kept as long as there is memory to give back. */
	int (*alloc)(ufm_devptr *out, size_t size_bytes);
	int (*release)(ufm_devptr memory);
	/* NULL, where nobody else takes memory (`cpu`): what the engines hold and what is lent is the count, and others_bytes
	 * is 0 */
	int (*memory)(size_t *free_bytes, size_t *total_bytes);
} ufm_lender_config;

/* The lender of its device from now on (ufm_lent_alloc). Nothing is allocated or resized yet; the limit may be passed already,
 * until ufm_lender_settle. UFM_EINVAL; UFM_EDEVICE: `memory` failed, as in all that follows. */
UFM_API ufm_status ufm_lender_open(const ufm_lender_config *config, ufm_lender **out);
/* Memory lent stays valid, and ufm_lent_free takes it. Waits for ufm_lent_alloc on other threads. */
UFM_API void ufm_lender_close(ufm_lender *lender);

/*
 * Device memory from the driver. What would pass the limit the engines give back first, whoever can give most before the
 * others. Where the driver refuses what the limit allows, engines give as much as was asked, and it is tried once more.
 *
 * UFM_EBUDGET: the smallest working sets do not leave it, and nothing has changed: bytes asked, used, limit, and what could be
 * given back; also when a driver that takes more than it is asked for would pass the limit so: then it has it again. UFM_EBUSY:
 * leases hold slots that must go. UFM_EDEVMEM: the driver refused, and what engines can give does not help. What they gave
 * before a failure they take again at the next ufm_lender_settle.
 */
UFM_API ufm_status ufm_lender_alloc(ufm_lender *lender, uint64_t size_bytes, ufm_devptr *out);
/* UFM_EINVAL: this lender has not lent it, or has it back. UFM_EDEVICE: the driver refused; it is not lent any more. */
UFM_API ufm_status ufm_lender_free(ufm_lender *lender, ufm_devptr memory);

/*
 * Between steps: engines grow by what limit and driver leave above keep_free_bytes, divided as by ufm_engines_divide, and shrink
 * when less is left. Changes by less than 1/256 of the limit or a granule are not made, unless the limit is passed or every
 * expert gets a slot. When nothing has changed since the last time this is one question to the driver. UFM_EBUDGET: engines are
 * at their smallest, and less than keep_free_bytes is left or the limit is passed; else as ufm_engines_divide.
 */
UFM_API ufm_status ufm_lender_settle(ufm_lender *lender, uint64_t keep_free_bytes);

typedef struct ufm_lender_info {
	size_t struct_size;
	uint64_t limit_bytes;
	uint64_t used_bytes;             /* now, of the limit */
	uint64_t used_high_water_bytes;  /* the most that any call on the lender has seen */
	uint64_t gives_bytes;            /* what the engines could give back now, leases aside */
	uint64_t lent_bytes, lent_count; /* not given back yet */
	uint64_t rooms, room_bytes;      /* how often engines gave memory back at once, and how much */
	uint64_t refused;                /* allocations that failed */
	uint64_t grown, grown_bytes, shrunk, shrunk_bytes; /* how often settling changed the engines */
} ufm_lender_info;
UFM_API ufm_status ufm_lender_get_info(ufm_lender *lender, ufm_lender_info *info);

/*
 * The same for allocators that can pass no object: by the lender of that device (the index of its engines) that was opened last
 * and is open. Opening another replaces it for what is allocated from then on; when that closes, the one before is asked
 * again. NULL: there is no lender, or ufm_lender_alloc fails, whose line ufm_last_error has. The stream is not looked at.
 * These are the two functions of torch._C._cuda_customAllocator.
 */
UFM_API void *ufm_lent_alloc(ptrdiff_t size_bytes, int device_index, void *stream);
/* Gives memory of any lender back by that lender's `release`, closed or not. NULL and memory that nobody has lent are left
 * alone, as is all memory in a child process. */
UFM_API void ufm_lent_free(void *memory, ptrdiff_t size_bytes, int device_index, void *stream);

/* The configuration in effect, every default resolved. Strings live as long as the engine, but cpu_assist, whose
 * text stays until this thread asks again. */
typedef struct ufm_engine_info {
	size_t struct_size;
	const char *backend, *device, *policy;
	uint64_t vram_target_bytes, headroom_bytes, vram_limit_bytes;
	uint64_t context_bytes; /* taken by the driver before our first allocation */
	double link_gbps;       /* emulated; 0: a real link */
	uint32_t slots, ring_slots, lease_max;
	uint64_t expert_bytes, block_bytes;
	uint64_t slab_bytes, workspace_bytes, arena_bytes; /* their sum is all we hold */
	uint32_t max_tokens, call_tokens_max, top_k_max;
	ufm_math math;
	uint32_t cpu_threads;       /* of the CPU path; 0: it is off */
	uint32_t cpu_share_percent; /* 0: not fixed */
	/* "on", "off", or "off: " and why auto turned it off; where auto chooses, "on: " and what it has
	 * chosen so far, for which calls and why */
	const char *cpu_assist;
} ufm_engine_info;
UFM_API ufm_status ufm_engine_get_info(const ufm_engine *engine, ufm_engine_info *info);

/* What auto has found of layer calls of one size. */
typedef struct ufm_cpu_choice {
	size_t struct_size;
	uint32_t tokens_from;           /* calls of so many tokens, and of less than twice as many */
	uint32_t takes_cpu;             /* what such calls do from now on */
	uint32_t link_looks, cpu_looks; /* how often either way was looked at */
	double link_miss_ns,
		cpu_miss_ns; /* what a miss costs, all that comes with it included; 0: not known, or too little to tell */
	uint64_t changes; /* of mind, of all sizes together, so far */
} ufm_cpu_choice;
/* The index-th of the sizes that were looked at. Any thread. UFM_EINVAL: there are fewer. */
UFM_API ufm_status ufm_engine_get_cpu_choice(const ufm_engine *engine, uint32_t index,
                                             ufm_cpu_choice *choice);

/* Figures of this moment. Any thread; never waits for the device. */
typedef struct ufm_engine_memory {
	size_t struct_size;
	uint64_t device_total_bytes, device_free_bytes; /* the driver's view, under vram_limit */
	uint64_t held_bytes;            /* fall of free memory since the device was opened */
	uint64_t live_bytes;            /* slots that hold an expert + workspace + arena in use */
	uint64_t slab_high_water_bytes; /* most bytes of slots ever in use at once */
} ufm_engine_memory;
UFM_API ufm_status ufm_engine_get_memory(ufm_engine *engine, ufm_engine_memory *memory);

/* Device memory out of the arena, 256-byte aligned, freed with the engine. UFM_EBUDGET when the
 * arena is spent. */
UFM_API ufm_status ufm_engine_alloc(ufm_engine *engine, uint64_t size_bytes, ufm_devptr *out);

/* Streams for the caller's own work. `native` is the backend's stream (a CUstream) to wrap, or NULL
 * for a new one. */
UFM_API ufm_status ufm_stream_open(ufm_engine *engine, void *native, ufm_stream **out);
UFM_API void ufm_stream_close(ufm_engine *engine, ufm_stream *stream);
/* The stream with that handle of the backend's API, for callers whose streams are another library's: it is wrapped the
 * first time, kept, and closed with the engine, not by the caller. NULL is the device's default stream, as in CUDA's API
 * and PyTorch's `cuda_stream` 0. Any thread; as cheap as a look in a short list. UFM_EUNSUPPORTED: the backend has no
 * streams of its own (`cpu`); UFM_EBUSY: the engine knows UFM_STREAMS_MAX already. */
#define UFM_STREAMS_MAX 64
UFM_API ufm_status ufm_stream_of(ufm_engine *engine, void *native, ufm_stream **out);
/* Blocks until all work enqueued on the stream so far is done. */
UFM_API ufm_status ufm_stream_sync(ufm_engine *engine, ufm_stream *stream);
/* Enqueue copies; stream NULL: the engine's own, and then no layer call may run on another thread. The
 * host buffer must stay valid until the stream has passed them. */
UFM_API ufm_status ufm_copy_to_device(ufm_engine *engine, ufm_stream *stream, ufm_devptr dst,
                                      const void *src, uint64_t size_bytes);
UFM_API ufm_status ufm_copy_to_host(ufm_engine *engine, ufm_stream *stream, void *dst,
                                    ufm_devptr src, uint64_t size_bytes);

/* ------------------------------------------------------------------ counters */

typedef struct ufm_counter_desc {
	const char *name, *unit, *kind, *help; /* kind: "sum", "max" or "gauge" */
} ufm_counter_desc;
UFM_API uint32_t ufm_counter_count(void);
/* NULL for index >= ufm_counter_count(). Static storage. */
UFM_API const ufm_counter_desc *ufm_counter_describe(uint32_t index);
/* Writes min(count, ufm_counter_count()) values, since the engine opened. Waits for no work; exact
 * once the last ticket is done. */
UFM_API ufm_status ufm_engine_get_counters(ufm_engine *engine, uint64_t *values, uint32_t count);

/*
 * Writes what copies, kernels, CPU work and waits were made when as a Chrome trace (JSON;
 * docs/formats.md): the latest timeline_events spans since the engine opened. Between calls; waits for
 * work in flight. UFM_EINVAL when the engine keeps none; UFM_EFILE.
 */
UFM_API ufm_status ufm_engine_write_timeline(ufm_engine *engine, const char *path);

/* The sum is how many tokens the layer that has routed most has routed. */
typedef struct ufm_routing_info {
	size_t struct_size;
	uint64_t tokens;         /* in the file */
	uint64_t dropped_tokens; /* before them: the ring has no more room for them */
	uint64_t partial_tokens; /* after them: another layer, or sequence, has not routed them */
} ufm_routing_info;

/*
 * Writes which experts the tokens of layer calls went to as a trace (docs/formats.md) for ufm replay and
 * ufm bench: NAME.jsonl, or NAME.npy [token, layer, rank] in u8, or u16 for more than 256 experts. Routing
 * by the caller counts as that of the layer; a call that returned a failure does not count.
 *
 * A layer's tokens are numbered from 0 in the order in which it was given them. The file has the numbers of
 * which every layer that was called is still in the ring, so it is what a model did whose layers were called
 * in turn with the same tokens; a step that failed and is begun anew breaks that. sequences: tokens n,
 * n + sequences, … are one sequence, as in a batch of so many that decodes one token each a call, and the
 * file has one sequence after the other; 1: the order of the calls.
 *
 * An id outside the experts is left out, of equal ids of one token the later ones. Waits for calls on other
 * threads. UFM_EINVAL: the engine keeps none, another name, sequences 0, no token, or a .npy of tokens that
 * did not all go to the same number of experts. UFM_EFILE; then the file is what it was. info may be NULL.
 */
UFM_API ufm_status ufm_engine_write_routing(ufm_engine *engine, const char *path,
                                            uint32_t sequences, ufm_routing_info *info);

/* ------------------------------------------------------------------ pager level */

typedef struct ufm_lease ufm_lease;

/* Most experts that leases may hold at once; changes with ufm_engine_resize. */
UFM_API uint32_t ufm_engine_lease_max(const ufm_engine *engine);

/*
 * Pins n distinct experts of a layer in device slots, enqueues the copies that are missing, and
 * returns without waiting. All or nothing: UFM_EBUSY when other leases hold too many slots,
 * UFM_EINVAL for a duplicate or unknown id or n > ufm_engine_lease_max(). Each id counts as one use.
 */
UFM_API ufm_status ufm_acquire_begin(ufm_engine *engine, uint32_t layer, const uint32_t *experts,
                                     uint32_t n, ufm_lease **out);
/* The same, but where leases hold what it needs it waits until they are released: UFM_ETIMEDOUT when wait_ns has passed. Not
 * on a thread that would have to release them. */
UFM_API ufm_status ufm_acquire_wait(ufm_engine *engine, uint32_t layer, const uint32_t *experts,
                                    uint32_t n, uint64_t wait_ns, ufm_lease **out);
/* Orders `stream` after the arrival of the lease's bytes. Blocks the host at most wait_ns, and only
 * for hops that a stream cannot wait for (a disk). */
UFM_API ufm_status ufm_acquire_ready(ufm_lease *lease, ufm_stream *stream, uint64_t wait_ns);
/* Device address of the index-th expert, valid for work on a stream that was made ready, until the
 * release. 0 for an index out of range. */
UFM_API ufm_devptr ufm_lease_view(const ufm_lease *lease, uint32_t index);
/* Marks the work enqueued on `stream` so far as the last use, unpins, and frees the lease. NULL
 * stream: the lease was not used. */
UFM_API ufm_status ufm_release(ufm_lease *lease, ufm_stream *stream);

/* A hint: loads experts into slots that hold nothing. May be dropped, never displaces an expert. */
UFM_API ufm_status ufm_prefetch(ufm_engine *engine, uint32_t layer, const uint32_t *experts,
                                uint32_t n);

/* ------------------------------------------------------------------ layer level */

typedef struct ufm_layer ufm_layer;

/* How a router makes scores out of its logits (f32). */
typedef enum ufm_scoring {
	UFM_SCORE_SOFTMAX = 1, /* over all experts */
	UFM_SCORE_SIGMOID = 2, /* each on its own */
} ufm_scoring;

/* What is added to the sum that the chosen weights are divided by (as Transformers does behind a
 * sigmoid router): weights that are all 0 stay 0, and no sum above 1e-12 is changed by it. */
#define UFM_NORM_TOPK_ADDEND 1e-20f

typedef struct ufm_layer_config {
	size_t struct_size;
	uint32_t layer;     /* of the bank */
	uint32_t top_k;     /* 1 … min(experts, engine's top_k_max) */
	uint32_t norm_topk; /* 1: the chosen weights are divided by their sum + UFM_NORM_TOPK_ADDEND */
	uint32_t residual;  /* 1: y = x + moe(norm(x)) instead of moe(norm(x)) */
	/* f32 in host memory, copied when the layer opens */
	const float *router_weight; /* [experts, d_model]; NULL: every call brings ids and gates */
	const float *norm_weight;   /* [d_model] of an RMS norm before router and experts, or NULL */
	float norm_eps;             /* default 1e-6 */
	ufm_scoring scoring;        /* default UFM_SCORE_SOFTMAX */
	/* The id that calls give the bank's first expert, where the bank has a slice of the layer's experts (expert
	 * parallelism): the others' ids contribute exactly 0. UFM_EINVAL with router_weight; without one top_k may
	 * exceed the bank's experts. */
	uint32_t expert_begin;
} ufm_layer_config;

/* Device bytes that a layer takes from the arena; of the bank, experts and desc are read. */
UFM_API uint64_t ufm_layer_bytes(const ufm_bank_info *bank, const ufm_layer_config *config);
UFM_API ufm_status ufm_layer_open(ufm_engine *engine, const ufm_layer_config *config,
                                  ufm_layer **out);
UFM_API void ufm_layer_close(ufm_layer *layer);

typedef enum ufm_place { UFM_ON_HOST = 0, UFM_ON_DEVICE = 1 } ufm_place;

/* A matrix of tokens. Exactly one of host and device is read, by `place`. */
typedef struct ufm_tokens {
	size_t struct_size;
	ufm_place place;
	ufm_dtype dtype; /* UFM_F32 (default), UFM_BF16 or UFM_F16 */
	void *host;
	ufm_devptr device;
	/* elements from one token to the next; 0: d_model. UFM_EINVAL where a call's last token would end
	 * beyond 2^64 bytes */
	uint64_t stride;
} ufm_tokens;

typedef struct ufm_moe_call {
	size_t struct_size;
	uint32_t tokens;     /* T; 0 is allowed and does nothing */
	const ufm_tokens *x; /* [T, d_model]; the struct is read before the call returns */
	const ufm_tokens *y; /* the same, to be written; may be x itself */
	/* Routing by the caller, host memory, [T, top_k] each; NULL: device_ids and device_gates, or else the layer's router.
	 * An id outside the bank's experts contributes 0; of one that a token names again the gates are added, in order.
	 * Read before the call returns. */
	const int32_t *ids;
	const float *gates;
	/* Routing by the layer, reported: host memory, [T, top_k] each, or NULL. Valid on return (ids)
	 * and when the ticket is done (gates). */
	int32_t *ids_out;
	float *gates_out;
	ufm_stream *stream; /* x is ready and y may be used in this order; NULL: the engine's own */
	/* The same routing in device memory, ready in the stream's order and read in it: signed ids of id_bytes each (4,
	 * the default, or 8), gates of gate_dtype (UFM_F32, the default, UFM_BF16 or UFM_F16). A layer whose every expert has a slot
	 * needs no host then. */
	ufm_devptr device_ids, device_gates;
	uint32_t id_bytes;
	ufm_dtype gate_dtype;
	/* 1: returns when all is done, as ufm_ticket_wait would. On the cpu backend the caller's thread then does the work
	 * itself where nothing is before it, which for small layers saves most of the time. */
	uint32_t wait;
} ufm_moe_call;

typedef struct ufm_ticket {
	uint64_t id;
} ufm_ticket;

/*
 * Computes one routed layer: y = [x +] sum over the top-k of gate * expert(norm(x)), summed in
 * router order. Returns after enqueueing; host x must stay valid and host y is filled when the
 * ticket is done. On failure y is not written and the engine stays usable. The same bits for every
 * cache size, policy and order of arrival; the same tokens in calls of other sizes may differ in last bits, because who
 * computes an expert's rows goes by how many it has in the call. With the CPU path on, its sums round in another order
 * than a device's, and which experts it computes depends on timing, or with cpu_share_percent on what
 * is resident. Then the call also returns only when the CPU has done its part. ticket may be NULL.
 */
UFM_API ufm_status ufm_moe_forward(ufm_layer *layer, const ufm_moe_call *call, ufm_ticket *ticket);
/* Waits for a call's end and returns its outcome. */
UFM_API ufm_status ufm_ticket_wait(ufm_engine *engine, ufm_ticket ticket, uint64_t wait_ns);

#ifdef __cplusplus
}
#endif
#endif
