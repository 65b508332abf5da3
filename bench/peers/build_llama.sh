#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds libllama of a llama.cpp source tree, shared and without its programs, for bench/peers/beside.sh.
#
#   bench/peers/build_llama.sh SOURCE_DIR OUT_DIR [--cuda ARCH|off] [--jobs N] [-- OPTION-OF-CMAKE...]
#
# OUT_DIR gets include/ and lib/, and build/ with what a second call need not build again.
# --cuda: the GPU's architecture (default: 90); off: for the CPU alone. Machine code for that one
# architecture and no PTX is what shortens the build; kernels and their options are the project's defaults.
# What stands behind `--` wins over all that: for a machine with another processor, say, -DGGML_NATIVE=OFF with the
# extensions that it has.
# Exit: 0 built, 1 not, 2 wrong arguments, 3 a program is missing.
set -uo pipefail

usage() {
	sed -n '/^#   /p' "$0" >&2
	exit 2
}

arguments() {
	local rest=()
	while [ $# -gt 0 ]; do
		case "$1" in
		--cuda | --jobs)
			[ $# -gt 1 ] || usage
			[ "$1" = --cuda ] && cuda=$2 || jobs=$2
			shift 2
			;;
		--) more=("${@:2}") && break ;;
		-*) usage ;;
		*) rest+=("$1") && shift ;;
		esac
	done
	[ ${#rest[@]} = 2 ] || usage
	source=${rest[0]} out=${rest[1]}
}

programs() {
	local program needed=(cmake g++)
	[ "$cuda" = off ] || needed+=(nvcc)
	for program in "${needed[@]}"; do
		command -v "$program" >/dev/null || {
			echo "${0##*/}: $program is not installed" >&2
			exit 3
		}
	done
	! command -v ninja >/dev/null || generator=(-G Ninja)
}

options() {
	local part
	printf '%s\n' -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF
	for part in TESTS TOOLS EXAMPLES SERVER APP COMMON; do
		echo "-DLLAMA_BUILD_$part=OFF"
	done
	# The library beside the program that links it, wherever the folder is moved.
	# shellcheck disable=SC2016
	printf '%s\n' '-DCMAKE_INSTALL_RPATH=$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON
	[ "$cuda" = off ] || printf '%s\n' -DGGML_CUDA=ON -DGGML_CUDA_NCCL=OFF "-DCMAKE_CUDA_ARCHITECTURES=$cuda-real"
}

gather() {
	mkdir -p "$out/include" "$out/lib" &&
		cp "$source"/include/*.h "$source"/ggml/include/*.h "$out/include/" &&
		find "$out/build/bin" -name 'lib*.so*' -exec cp -P {} "$out/lib/" \;
}

cuda=90 jobs=$(nproc) generator=() more=() source='' out=''
arguments "$@"
[ -f "$source/include/llama.h" ] || {
	echo "${0##*/}: $source: found no include/llama.h, expected a source tree of llama.cpp" >&2
	exit 2
}
programs
mapfile -t configured < <(options)
configured+=("${more[@]}")
mkdir -p "$out" || exit 1
cmake -S "$source" -B "$out/build" "${generator[@]}" "${configured[@]}" >"$out/configure.txt" 2>&1 || {
	tail -n 20 "$out/configure.txt" >&2
	exit 1
}
cmake --build "$out/build" -j "$jobs" --target llama >"$out/build.txt" 2>&1 || {
	tail -n 20 "$out/build.txt" >&2
	exit 1
}
gather || exit 1
echo "$out: $(du -sh "$out/lib" | cut -f1) in lib, built in $SECONDS s"
