/* SPDX-License-Identifier: MIT */
/* Finds cuBLAS at run time, as others bring it. Nothing links it, and no header of it is needed. */
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/peak.h"

#define PATTERN_BYTES 4096

static const struct {
	const char *name;
	size_t offset_bytes;
} functions[] = {
	{"cublasCreate_v2", offsetof(cublas, create)},
	{"cublasDestroy_v2", offsetof(cublas, destroy)},
	{"cublasSetStream_v2", offsetof(cublas, set_stream)},
	{"cublasGetVersion_v2", offsetof(cublas, get_version)},
	{"cublasGemmEx", offsetof(cublas, gemm)},
};

/* The newest first. */
static const int majors[] = {13, 12};

/* Below a folder with libraries, a Python installation, or the root. */
static const char *const below_toolkit[] = {"/lib64", "/targets/*/lib", "/lib"};
static const char *const below_python[] = {"/lib/python3*/site-packages/nvidia/*/lib",
                                           "/lib/python3*/dist-packages/nvidia/*/lib"};

typedef struct finder {
	cublas_use use;
	void *ctx;
	int major;
	bool used;
} finder;

static bool find_functions(void *library, cublas *out)
{
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		void *function = dlsym(library, functions[i].name);

		if (!function)
			return false;
		memcpy((char *)out + functions[i].offset_bytes, &function, sizeof function);
	}
	return true;
}

/* What cuBLAS needs lies beside it, where the loader may not look. */
static void load_companion(const char *path)
{
	static const char name[] = "libcublas.so";
	char companion[PATTERN_BYTES];
	const char *file = strstr(path, name);

	if (!strchr(path, '/') || !file)
		return;
	snprintf(companion, sizeof companion, "%.*slibcublasLt.so%s", (int)(file - path), path,
	         file + strlen(name));
	(void)dlopen(companion, RTLD_NOW | RTLD_GLOBAL);
}

/* Libraries are not closed: their threads and exit handlers may outlast us. */
static bool load(const char *path, cublas *out)
{
	load_companion(path);
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	return library && find_functions(library, out);
}

static void try_path(finder *f, const char *path)
{
	cublas library;

	if (!f->used && load(path, &library))
		f->used = f->use(f->ctx, &library);
}

static void try_below(finder *f, const char *root, const char *folder)
{
	char pattern[PATTERN_BYTES];
	glob_t found;

	if (!root || !*root || f->used)
		return;
	snprintf(pattern, sizeof pattern, "%s%s/libcublas.so.%d", root, folder, f->major);
	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		try_path(f, found.gl_pathv[i]);
	globfree(&found);
}

static void try_toolkits(finder *f)
{
	const char *const roots[] = {getenv("CUDA_HOME"), getenv("CUDA_PATH"), "/usr/local/cuda",
	                             "/usr/local/cuda-*", "/opt/cuda"};

	for (size_t r = 0; r < sizeof roots / sizeof roots[0]; r++)
		for (size_t i = 0; i < sizeof below_toolkit / sizeof below_toolkit[0]; i++)
			try_below(f, roots[r], below_toolkit[i]);
}

static void try_pythons(finder *f)
{
	char user[PATTERN_BYTES] = "";
	const char *home = getenv("HOME");

	if (home && *home)
		snprintf(user, sizeof user, "%s/.local", home);
	const char *const roots[] = {getenv("VIRTUAL_ENV"),
	                             getenv("CONDA_PREFIX"),
	                             "./.venv",
	                             user,
	                             "/usr/local",
	                             "/usr",
	                             "/opt/*"};
	for (size_t r = 0; r < sizeof roots / sizeof roots[0]; r++)
		for (size_t i = 0; i < sizeof below_python / sizeof below_python[0]; i++)
			try_below(f, roots[r], below_python[i]);
}

static void try_all(finder *f)
{
	char name[32];

	for (size_t i = 0; i < sizeof majors / sizeof majors[0] && !f->used; i++) {
		f->major = majors[i];
		snprintf(name, sizeof name, "libcublas.so.%d", f->major);
		try_path(f, name);
		try_toolkits(f);
		try_pythons(f);
	}
}

ufm_status cublas_find(cublas_use use, void *ctx, bool *used)
{
	finder f = {.use = use, .ctx = ctx};
	const char *named = getenv("UFM_CUBLAS");
	cublas library;

	if (!named || !*named) {
		try_all(&f);
	} else if (load(named, &library)) {
		f.used = use(ctx, &library);
	} else {
		const char *why = dlerror();
		return cuda_fail(UFM_EFILE, "UFM_CUBLAS: cannot load %s: %s", named,
		                 why ? why : "it lacks functions of cuBLAS 12 and newer");
	}
	*used = f.used;
	return UFM_OK;
}
