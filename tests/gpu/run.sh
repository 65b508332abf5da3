#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Everything that needs a GPU, in stages of under nine minutes each: conformance, correctness, the
# sanitizers, the reference sweep, and the README's `make test`. Works on a copy of the tree that has nothing
# installed but CUDA and Python: all programs come from a portable build. (Only `suite` builds, and installs
# what is missing unless NO_INSTALL=1.)
#
#   tests/gpu/run.sh [--build DIR] [--results DIR] [--seconds N] [STAGE...]
#
# A stage that has passed for this build is not run again: run it once more after an interruption, and it
# goes on. --seconds: no stage is begun that could need longer than what is left of them. The results lie
# in one folder, each stage's in one of its name, with the machine record in `machine`; with OUT set they
# come there as gpu-results.tar.gz.
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

stages=(machine kernels conformance engine initcheck memcheck quick sweep reference racecheck suite)
declare -A limit_s=([machine]=30 [kernels]=90 [conformance]=60 [engine]=120 [initcheck]=120 [memcheck]=120
	[quick]=60 [sweep]=300 [reference]=240 [racecheck]=300 [suite]=420)
build=build-portable-gpu results=build-gpu-results archive=gpu-results.tar.gz
export UFM_TEST_BACKEND=cuda
# shellcheck source=tests/gpu/stages.bash
. tests/gpu/stages.bash

option() { return 1; }

stages_ready() {
	"$ufm" bench --backend cuda --experts 1 --d-model 8 --d-hidden 8 --top-k 1 --steps 1 --no-out >/dev/null
}

# ---- what each stage runs; $1 is its folder

run_machine() {
	"$ufm" doctor -o json >"$1/machine.json" &&
		nvidia-smi -q | sed '/Serial Number\|UUID/d' >"$1/nvidia-smi.txt"
	"$ufm" doctor
}

# A driver without a device: refused by name with a line, passed over by itself.
check_hidden_device() {
	local small=(bench --experts 2 --d-model 8 --d-hidden 8 --steps 1 --no-out) status=0 rows
	CUDA_VISIBLE_DEVICES='' "$ufm" "${small[@]}" --backend cuda || status=$?
	rows=$(CUDA_VISIBLE_DEVICES='' "$ufm" "${small[@]}" -o jsonl) &&
		[ $status = 3 ] && [[ $rows == *'"backend":"cpu"'* ]]
}

# The kernels of this machine's processor (AMX is proven here alone), and how fast they read weights.
run_kernels() {
	tests/run --build "$build" --jobs 1 --kind unit --filter test_kernels &&
		"$build/bench/kernels" --isa avx2,avx512,amx --threads "$(($(nproc) > 1 ? $(nproc) - 1 : 1))" \
			--gib 2 | tee "$1/kernels.jsonl"
}

run_conformance() {
	check_hidden_device && tests/run --build "$build" --jobs 1 --kind conformance --kind gpu
}

run_engine() {
	tests/run --build "$build" --jobs 1 --kind unit --kind stress --kind property \
		--filter test_engine --filter test_forward --filter test_lease --filter test_resize --filter stress \
		--filter test_assisted --filter test_cpu_path --filter test_together --filter test_resident --filter test_rows \
		--filter test_callers_routing --filter test_make_room --filter test_waiting_calls --filter test_divide --filter test_lend
}

run_reference() { PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -q -p no:cacheprovider tests/reference; }

# Calls that are meant to fail are no errors of the memory checker.
sanitize() {
	local tool=$1
	shift
	compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 "$@"
}

# peak_ runs the vendor's library, whose products take minutes under a tool and are not ours to check.
run_memcheck() {
	UFM_TEST_LEAVE_OUT="peak_" \
		sanitize memcheck --leak-check full "$build/tests/conformance/test_conformance" &&
		sanitize memcheck "$build/tests/unit/test_lease" &&
		sanitize memcheck "$build/tests/unit/test_forward" &&
		sanitize memcheck "$build/tests/unit/test_resize" &&
		sanitize memcheck "$build/tests/unit/test_together"
}

run_racecheck() {
	UFM_TEST_LEAVE_OUT="peak_" \
		sanitize racecheck "$build/tests/conformance/test_conformance" &&
		sanitize racecheck "$build/tests/unit/test_lease"
}

# This tool keeps its notes in device memory, so the cases that count it are left out. It loses writes
# of kernels that run beside work of another stream (the number of its errors changes from run to run,
# and is 0 when launches wait for each other), so launches wait.
run_initcheck() {
	export CUDA_LAUNCH_BLOCKING=1
	UFM_TEST_LEAVE_OUT="memory_ cuda_whole_card peak_" \
		sanitize initcheck "$build/tests/conformance/test_conformance" &&
		sanitize initcheck "$build/tests/unit/test_lease" &&
		sanitize initcheck "$build/tests/unit/test_forward"
}

record() { # record FOLDER NAME OPTION-OF-BENCH...
	UFM=$ufm RESULTS=$1 tools/record "${@:2}" && tests/gpu/report.py "$1/$2" | tee "$1/$2/report.md"
}

# What the README tells a user to type. Nothing names a backend, so that `auto` finds the GPU.
run_suite() {
	env -u UFM_TEST_BACKEND -u UFM_BACKEND_PATH -u UFM_BUILD_DIR -u LC_ALL make test BUILD="$1/build"
	local status=$?
	rm -rf "$1/build"
	return $status
}

run_quick() { record "$1" quick --quick --workload text:bench/text/alice29.txt; }

run_sweep() {
	record "$1" reference --workload uniform --vram-limit 23.51GiB --vram-target 16GiB --headroom 1GiB \
		--experts 96,144,192 --steps 10
}

stages_main "$@"
