# SPDX-License-Identifier: MIT
# The commands of every day. CMake does the work; these know the order.
#
#   make            builds build/ufm
#   make bench      installs what is missing, builds, runs the quick sweep, leaves results/latest/ (RESULTS=DIR: DIR)
#   make test       installs what is missing, builds, runs every test
#   make install    PREFIX=/usr/local
#   make wheel      dist/ufm-*.whl, the Python package with libufm and the CUDA plugin (ARGS="…" for `pip wheel`)
#   make format     clang-format over the sources
#
# NO_INSTALL=1 forbids installing. ARGS="…" is passed on to `ufm bench` or tests/run.

MAKEFLAGS += --no-print-directory

BUILD ?= build
RESULTS ?=
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
ARGS ?=

CONFIGURE = cmake -S . -B $(BUILD) -G "Unix Makefiles"
COMPILE = cmake --build $(BUILD) --parallel $(JOBS)

.PHONY: all bench test install wheel format clean

all:
	@command -v cmake >/dev/null || { echo "cmake is missing: run tools/bootstrap run" >&2; exit 3; }
	@$(CONFIGURE) -DUFM_TESTS=OFF
	@$(COMPILE)

bench:
	@tools/bootstrap bench
	@$(CONFIGURE) -DUFM_TESTS=OFF
	@$(COMPILE) --target ufm_command
	@LC_CTYPE=C.UTF-8 $(BUILD)/ufm bench --quick --workload text:bench/text/alice29.txt $(if $(RESULTS),--out $(RESULTS)) -o md $(ARGS)

test:
	@tools/bootstrap test
	@$(CONFIGURE) -DUFM_TESTS=ON
	@$(COMPILE)
	@tests/run --build $(BUILD) $(ARGS)

install:
	@$(CONFIGURE) -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	@$(COMPILE)
	@cmake --install $(BUILD)

wheel:
	@$(firstword $(wildcard .venv/bin/python) python3) tools/make_wheel dist $(ARGS)

format:
	@git ls-files '*.c' '*.h' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	rm -rf $(BUILD)
