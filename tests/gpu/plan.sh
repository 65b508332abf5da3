#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Measures what ufm plan predicts, and puts both side by side: three models, budgets from a quarter to all of their
# experts, decode of one and of four sequences, prefill, the CPU path off and on, made and recorded routing.
#
#   tests/gpu/plan.sh [--build DIR] [--results DIR] [--seconds N] [--trace FILE.npy] [--backend NAME]
#                     [--size full|small] [STAGE...]
#
# A stage that has passed for this build is not run again: run it once more, with the same results folder,
# after an interruption, and it goes on. --seconds: no stage is begun that could need longer than what is
# left of them. --trace: recorded routing of gpt-oss-20b (.npy). --size small: small shapes and an emulated link, for
# the cpu backend on a few cores. Every stage leaves its rows, command and machine record in a folder of its name;
# plan.md compares them with their predictions, in plan.jsonl the same for programs; with OUT set all comes there as
# plan-results.tar.gz.
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

stages=(machine fine_quarter fine_half fine_whole fine_cpu fine_batch fine_sticky fine_sticky_cpu coarse_third
	coarse_half coarse_cpu coarse_batch coarse_uniform small_third small_most small_cpu small_batch)
declare -A limit_s=([machine]=30 [fine_quarter]=60 [fine_half]=60 [fine_whole]=60 [fine_cpu]=60 [fine_batch]=60
	[fine_sticky]=60 [fine_sticky_cpu]=60
	[coarse_third]=60 [coarse_half]=60 [coarse_cpu]=60 [coarse_batch]=60 [coarse_uniform]=60 [small_third]=40
	[small_most]=40 [small_cpu]=40 [small_batch]=40)
build=build-portable-gpu results=build-gpu-plan archive=plan-results.tar.gz
backend=cuda trace=''
# shellcheck source=tests/gpu/stages.bash
. tests/gpu/stages.bash

option() {
	case "$1" in
	--trace) trace=$2 ;;
	--backend) backend=$2 ;;
	--size) declare -F "shapes_$2" >/dev/null && "shapes_$2" ;;
	*) return 1 ;;
	esac
}

stages_ready() {
	"$ufm" bench --backend "$backend" --experts 1 --d-model 8 --d-hidden 8 --top-k 1 --steps 1 --no-out >/dev/null
}

# ---- the models: many small experts, few large ones with recorded routing, and something between

shapes_full() {
	fine=(--preset qwen3-30b-a3b) fine_quarter=14GiB fine_half=28GiB fine_whole=60GiB
	coarse=(--preset gpt-oss-20b) coarse_third=13GiB coarse_half=19GiB
	small=(--preset olmoe-1b-7b) small_third=5GiB small_half=7GiB small_most=12.2GiB
	fine_router=(--workload uniform) small_router=(--workload sticky:olmoe-1b-7b)
	common=(--headroom 1GiB --math bf16) short=512 warmup=12 steps=10 prefill_steps=10 trace_warmup=100
	trace_steps=200
}

shapes_small() { # so slow a link that a machine's other work hardly shows; each phase with steps of its own
	fine=(--layers 4 --experts 32 --top-k 4 --d-model 512 --d-hidden 512 --kind gated --dtype bf16)
	fine_quarter=52MiB fine_half=104MiB fine_router=(--workload sticky:gpt-oss-20b)
	coarse=(--layers 24 --experts 32 --top-k 4 --d-model 256 --d-hidden 512 --kind gated --dtype bf16)
	coarse_third=200MiB coarse_half=320MiB
	small=(--layers 2 --experts 24 --top-k 2 --d-model 512 --d-hidden 1024 --kind mlp-bias --dtype f32)
	small_third=40MiB small_half=60MiB small_router=(--workload 'sticky:0.4,1,0.05')
	common=(--headroom 0 --link-gbps 0.03) short=32 warmup=12 steps=24 trace_warmup=15 trace_steps=30 prefill_steps=3
	limit_s[coarse_batch]=150 limit_s[small_third]=90 limit_s[small_batch]=90
	stages=(machine fine_quarter fine_half fine_batch coarse_third coarse_half coarse_batch small_third small_batch)
}

shapes_full

# ---- what each stage runs; $1 is its folder

run_machine() { "$ufm" doctor -o json >"$1/machine.json" && "$ufm" doctor; }

rows=rows
measure() { # measure FOLDER BUDGET CPU-ASSIST BATCH OPTION-OF-BENCH...
	UFM=$ufm RESULTS=$1 tools/record "$rows" --backend "$backend" --no-figures --modes ufm "${common[@]}" \
		--vram-target "$2" --cpu-assist "$3" --batch "$4" "${@:5}"
}
# Of one filled bank, unless prefill takes so long that it gets fewer steps.
both_phases() { # both_phases FOLDER BUDGET CPU-ASSIST OPTION-OF-BENCH...
	if [ "$prefill_steps" = "$steps" ]; then
		measure "$1" "$2" "$3" 1 --phase decode,prefill --seq "$short" --warmup "$warmup" --steps "$steps" "${@:4}"
		return
	fi
	decode "$1" "$2" "$3" 1 "${@:4}" || return 1
	rows=rows_prefill measure "$1" "$2" "$3" 1 --phase prefill --seq "$short" --warmup 1 --steps "$prefill_steps" \
		"${@:4}"
}
decode() { measure "$1" "$2" "$3" "$4" --phase decode --warmup "$warmup" --steps "$steps" "${@:5}"; }
recorded() {
	[ -r "$trace" ] || {
		echo "plan.sh: --trace '$trace': expected the recorded routing of gpt-oss-20b (.npy)" >&2
		return 1
	}
	measure "$1" "$2" "$3" "$4" --phase decode --workload "trace:$trace" --warmup "$trace_warmup" \
		--steps "$trace_steps" "${coarse[@]}"
}

run_fine_quarter() { both_phases "$1" "$fine_quarter" off "${fine[@]}" "${fine_router[@]}"; }
run_fine_half() { both_phases "$1" "$fine_half" off "${fine[@]}" "${fine_router[@]}"; }
run_fine_whole() { both_phases "$1" "$fine_whole" off "${fine[@]}" "${fine_router[@]}"; }
run_fine_cpu() { both_phases "$1" "$fine_quarter" auto "${fine[@]}" "${fine_router[@]}"; }
run_fine_batch() { decode "$1" "$fine_half" off 4 "${fine[@]}" "${fine_router[@]}"; }
run_fine_sticky() { decode "$1" "$fine_half" off 1 "${fine[@]}" --workload sticky:qwen3-30b-a3b; }
run_fine_sticky_cpu() { decode "$1" "$fine_half" auto 1 "${fine[@]}" --workload sticky:qwen3-30b-a3b; }
run_coarse_third() { recorded "$1" "$coarse_third" off 1; }
run_coarse_half() { recorded "$1" "$coarse_half" off 1; }
run_coarse_cpu() { recorded "$1" "$coarse_third" auto 1; }
run_coarse_batch() { recorded "$1" "$coarse_half" off 4; }
run_coarse_uniform() { both_phases "$1" "$coarse_half" off "${coarse[@]}"; }
run_small_third() { both_phases "$1" "$small_third" off "${small[@]}" "${small_router[@]}"; }
# The device routes and most layers miss nothing: what is left is the wait for its ids.
run_small_most() { decode "$1" "$small_most" off 1 "${small[@]}" --workload uniform; }
run_small_cpu() { both_phases "$1" "$small_half" auto "${small[@]}" "${small_router[@]}"; }
run_small_batch() { decode "$1" "$small_half" off 4 "${small[@]}" "${small_router[@]}"; }

against() { # against FORMAT
	local rows=("$results"/*/rows*/runs.jsonl) told=()
	[ -z "$trace" ] || told=(--workload "trace:$trace")
	"$ufm" plan --against "${told[@]}" -o "$1" --wide "${rows[@]}"
}
stages_end() {
	ls "$results"/*/rows*/runs.jsonl >/dev/null 2>&1 || return 0
	against jsonl >"$results/plan.jsonl" && against md | tee "$results/plan.md"
}

stages_main "$@"
