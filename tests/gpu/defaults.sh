#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Measures whether the default of the CPU path is ever slower than its own options, and whether this build is ever
# slower than an earlier one, in one call of one machine: auto, off and on of both builds take turns over the same
# tokens, with ids from the device's own routers; and beside them what ufm plan says.
#
#   tests/gpu/defaults.sh --before DIR [--build DIR] [--results DIR] [--seconds N] [--passes N] [--backend NAME]
#                         [--size full|tiny] [STAGE...]
#
# --before: a folder with ufm, libufm and plugin of the earlier build, and bench/defaults where its libufm has another
# SONAME than this build's: the programs of one do not run with the other. --passes: how often each build takes its
# turn, 1 if not given. A stage that has passed for this build is not run again: run it once more, with the same
# results folder, after an interruption, and it goes on. --seconds: no stage is begun that could need longer than what
# is left of them. --size tiny: small shapes that any machine can run, to try the script; what it measures means nothing.
# Every stage leaves its rows, command and machine record in a folder of its name; defaults_report.py puts them beside
# the targets, in report.md; with OUT set all comes there as defaults-results.tar.gz.
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

stages=(machine traces exact decode prefill cpu_link large plan)
declare -A limit_s=([machine]=40 [traces]=60 [decode]=240 [exact]=120 [prefill]=200 [cpu_link]=240 [large]=300
	[plan]=150)
build=build-portable-gpu results=build-gpu-defaults archive=defaults-results.tar.gz
backend=cuda before='' passes=1
# shellcheck source=tests/gpu/stages.bash
. tests/gpu/stages.bash

option() {
	case "$1" in
	--before) before=$(realpath "$2") ;;
	--passes) passes=$2 ;;
	--backend) backend=$2 ;;
	--size) declare -F "shapes_$2" >/dev/null && "shapes_$2" ;;
	*) return 1 ;;
	esac
}

# The program that measures the earlier build: this one's, or its own where this one's cannot load its library.
before_program() {
	if [ -e "$before/libufm.so.2" ]; then
		echo "$build/bench/defaults"
	elif [ -e "$before/libufm.so.1" ] && [ -x "$before/bench/defaults" ]; then
		echo "$before/bench/defaults"
	else
		return 1
	fi
}

stages_ready() {
	if [ ! -x "$before/ufm" ] || ! before_program >/dev/null; then
		echo "defaults.sh: --before '$before': expected a folder with ufm, libufm.so.2 (or libufm.so.1 and bench/defaults)" \
			"and plugin of a build" >&2
		return 1
	fi
	"$ufm" bench --backend "$backend" --experts 1 --d-model 8 --d-hidden 8 --top-k 1 --steps 1 --no-out >/dev/null
}

# ---- the cases, and what they shrink to

shapes_full() {
	model=sticky:qwen3-30b-a3b trace_tokens=2048
	model_layers=24 model_experts=128 model_width=2048 model_hidden=768
	residency=15,30,52,80 budgets=4GiB,8GiB,14GiB,resident
	prefills=(512 8192) decode_steps=(--rounds 3 --steps 100 --warmup 300)
	batch_steps=(--rounds 3 --steps 10 --warmup 60) prefill_steps=(--rounds 2 --prefill-steps 2 --prefill-warmup 3)
	exact_steps=(--rounds 6 --steps 96 --warmup 192) # tokens 192 to 767, as the peers' rows
	probe_budget=1GiB
	link_layers=8 link_experts=64 link_steps=(--rounds 5 --steps 15 --warmup 100 --prefill-steps 1 --prefill-warmup 5)
	large=(--preset qwen3-30b-a3b --seq 8192) large_budget=(--vram-target 16GiB --headroom 1GiB) large_steps=5
	fp32=(--d-model 2048 --d-hidden 8192 --batch 4 --seq 128 --experts '144,192')
	fp32_budget=(--vram-target 16GiB --headroom 1GiB)
}

shapes_tiny() {
	model=sticky:olmoe-1b-7b trace_tokens=64
	model_layers=2 model_experts=64 model_width=64 model_hidden=64
	residency=30,80 budgets=1MiB,resident
	prefills=(16 64) decode_steps=(--rounds 2 --steps 3 --warmup 4)
	batch_steps=(--rounds 2 --steps 2 --warmup 2) prefill_steps=(--rounds 2 --prefill-steps 1 --prefill-warmup 1)
	exact_steps=(--rounds 2 --steps 3 --warmup 4)
	probe_budget=4MiB
	link_layers=1 link_experts=64 link_steps=(--rounds 2 --steps 2 --warmup 2 --prefill-steps 1 --prefill-warmup 1)
	large=(--experts 16 --d-model 128 --d-hidden 128 --kind gated --dtype bf16 --seq 32)
	large_budget=(--vram-target 1MiB --headroom 0) large_steps=2
	fp32=(--d-model 128 --d-hidden 512 --batch 2 --seq 16 --experts '18,24')
	fp32_budget=(--vram-target 8MiB --headroom 0)
}

shapes_full

# Blocks of 1.1 MiB over so slow a link that a machine's other work hardly shows.
link_shape=(--d-model 512 --d-hidden 384) link_gbps=1 link_router=sticky:olmoe-1b-7b link_prefill=256

# ---- what each stage runs; $1 is its folder

run_machine() {
	local of
	for of in build before; do
		UFM_BACKEND_PATH=${!of} "${!of}/ufm" --version >"$1/version_$of.txt" || return 1
	done
	"$ufm" doctor -o json >"$1/machine.json" || return 1
	[ "$backend" = cpu ] || nvidia-smi -q | sed '/Serial Number\|UUID/d' >"$1/nvidia-smi.txt" || return 1
	"$ufm" doctor
}

# The tokens of all cases. Their ids follow from the router alone, so small experts make them in no time; the
# earlier build records them, which cannot change from one run to the next.
trace_of() { # trace_of FOLDER NAME ROUTER LAYERS EXPERTS SEQUENCES TOKENS
	UFM_BACKEND_PATH=$before "$before/ufm" bench --backend cpu --modes ufm --kind gated --d-model 8 --d-hidden 8 \
		--top-k 8 --workload "$3" --layers "$4" --experts "$5" --phase decode --batch "$6" --steps $(($7 / $6)) \
		--warmup 0 --vram-target 64MiB --headroom 0 --cpu-assist off --probe off --no-out \
		--record-trace "$1/$2.npy" >/dev/null
}
run_traces() {
	trace_of "$1" model_1 "$model" "$model_layers" "$model_experts" 1 "$trace_tokens" &&
		trace_of "$1" model_8 "$model" "$model_layers" "$model_experts" 8 "$trace_tokens" &&
		trace_of "$1" link "$link_router" "$link_layers" "$link_experts" 1 512 && ls -l "$1"
}

math_of() { # bf16 weights on tensor cores; the cpu backend has fp32 alone
	if [ "$1" = cpu ]; then echo fp32; else echo bf16; fi
}

# Both builds in turn; the library beside a plugin is that of its build.
by_both() { # by_both FOLDER NAME OPTION-OF-BENCH-DEFAULTS...
	local rows=$1/rows pass of folder program
	mkdir -p "$rows"
	{
		printf 'bench/defaults'
		printf ' %q' "${@:3}"
		printf '\n'
	} >>"$rows/command.txt"
	for ((pass = 1; pass <= passes; pass++)); do
		for of in now before; do
			folder=$build program=$build/bench/defaults
			[ $of = now ] || { folder=$before && program=$(before_program); } || return 1
			echo "$2, $of, pass $pass"
			LD_LIBRARY_PATH=$folder UFM_BACKEND_PATH=$folder "${pinned[@]}" "$program" --label $of \
				"${@:3}" >"$rows/$2-$of-$pass.jsonl" || return 1
		done
	done
}
pinned=()

record_machine() { "$ufm" doctor -o json >"$1/machine.json"; }

model_cases() { # model_cases FOLDER NAME TRACE OPTION...
	by_both "$1" "$2" --backend "$backend" --math "$(math_of "$backend")" --trace "$results/traces/$3.npy" \
		--layers "$model_layers" --experts "$model_experts" --d-model "$model_width" --d-hidden "$model_hidden" "${@:4}"
}
run_decode() {
	record_machine "$1" &&
		model_cases "$1" one model_1 --residency "$residency" --phases decode:1 "${decode_steps[@]}" &&
		model_cases "$1" eight model_8 --residency "$residency" --phases decode:8 "${batch_steps[@]}"
}
run_exact() {
	record_machine "$1" &&
		model_cases "$1" one model_1 --residency "$budgets" --phases decode:1 "${exact_steps[@]}"
}
run_prefill() {
	record_machine "$1" && model_cases "$1" prefill model_1 --residency "$residency" \
		--phases "$(printf 'prefill:%s,' "${prefills[@]}")" "${prefill_steps[@]}"
}

# On two cores, as on the smallest machine, whatever else there is.
run_cpu_link() {
	pinned=(taskset -c '0,1')
	record_machine "$1" && by_both "$1" link --backend cpu --compute-threads 2 --link-gbps "$link_gbps" \
		--trace "$results/traces/link.npy" --layers "$link_layers" --experts "$link_experts" "${link_shape[@]}" \
		--residency 15,30,52,80 --phases "decode:1,prefill:$link_prefill" "${link_steps[@]}"
}

bench_by() { # bench_by now|before FOLDER NAME OPTION-OF-BENCH...
	local folder=$build
	[ "$1" = now ] || folder=$before
	UFM=$folder/ufm UFM_BACKEND_PATH=$folder RESULTS=$2 tools/record "$3_$1" --backend "$backend" --no-figures \
		--modes ufm "${@:4}"
}
run_large() {
	local of assist threads
	threads=$(($(nproc) > 1 ? $(nproc) - 1 : 1)) # on, by as many threads as auto takes
	for of in now before; do
		for assist in off auto on; do
			bench_by $of "$1" "prefill_$assist" "${large[@]}" "${large_budget[@]}" --phase prefill --batch 1 \
				--math "$(math_of "$backend")" --steps "$large_steps" --warmup 1 \
				--cpu-assist "${assist/on/$threads}" || return 1
		done
		bench_by $of "$1" fp32_auto "${fp32[@]}" "${fp32_budget[@]}" --workload uniform --dtype f32 --steps 10 \
			--warmup 2 --cpu-assist auto || return 1
	done
}

# What this build's planner says of the cases, by rates that this machine was probed with, beside a bank as large as
# theirs: a small one reads faster.
plan_of() { # plan_of FOLDER NAME ROWS TRACE LIST OPTION...
	local budgets_told=${5//resident/100%} list=() each
	IFS=, read -ra list <<<"$budgets_told"
	for each in "${!list[@]}"; do
		[[ ${list[each]} = *[B%] ]] || list[each]+=%
	done
	printf '%s\n' "$5" >"$1/rows/$2.list"
	"$ufm" plan --kind gated --dtype bf16 --top-k 8 --headroom 0 --machine "$3/runs.jsonl" \
		--workload "trace:$results/traces/$4.npy" --vram-target "$(IFS=, && echo "${list[*]}")" "${@:6}" \
		-o jsonl >"$1/rows/$2.jsonl"
}
plan_model() { # plan_model FOLDER NAME TRACE LIST OPTION...
	plan_of "$1" "$2" "$1/probe" "$3" "$4" --layers "$model_layers" --experts "$model_experts" --d-model "$model_width" \
		--d-hidden "$model_hidden" "${@:5}"
}
plan_link() { # plan_link FOLDER NAME OPTION...
	plan_of "$1" "$2" "$1/probe_link" link 15,30,52,80 --layers "$link_layers" --experts "$link_experts" \
		"${link_shape[@]}" "${@:3}"
}
probe() { # probe FOLDER NAME BACKEND OPTION-OF-BENCH...: arithmetic, too, which calls of few tokens do not probe
	UFM=$ufm RESULTS=$1 "${pinned[@]}" tools/record "$2" --backend "$3" --no-figures --modes ufm --kind gated \
		--dtype bf16 --top-k 8 --math "$(math_of "$3")" --headroom 0 --phase prefill --batch 1 --seq "${prefills[0]}" --steps 2 --warmup 1 "${@:4}"
}
run_plan() {
	local tokens
	mkdir -p "$1/rows"
	probe "$1" probe "$backend" --layers "$model_layers" --experts "$model_experts" --d-model "$model_width" --d-hidden "$model_hidden" \
		--vram-target "$probe_budget" || return 1
	plan_model "$1" decode_1 model_1 "$residency" --batch 1 --prompt 1 || return 1
	plan_model "$1" exact_1 model_1 "$budgets" --batch 1 --prompt 1 || return 1
	plan_model "$1" decode_8 model_8 "$residency" --batch 8 --prompt 1 || return 1
	for tokens in "${prefills[@]}"; do
		plan_model "$1" "prefill_$tokens" model_1 "$residency" --batch 1 --prompt "$tokens" || return 1
	done
	pinned=(taskset -c '0,1')
	probe "$1" probe_link cpu --link-gbps "$link_gbps" --threads 2 --layers "$link_layers" --experts "$link_experts" \
		"${link_shape[@]}" --vram-target 32MiB || return 1
	plan_link "$1" link_1 --batch 1 --prompt 1 && plan_link "$1" "link_$link_prefill" --batch 1 --prompt "$link_prefill"
}

stages_end() { python3 -B tests/gpu/defaults_report.py "$results" | tee "$results/report.md"; }

stages_main "$@"
