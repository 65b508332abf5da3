#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2034,SC2154
# What routed layers cost on a GPU: the products alone, prefill and decode with norm, router and combine where all experts
# are there, beside the vendor's matrix product and the routed block of Transformers; and where most must come over the link.
#
#   tests/gpu/layers.sh [--build DIR] [--results DIR] [--seconds N] [--python PROGRAM] [--backend NAME]
#                       [--size full|tiny] [STAGE...]
#
# Stages as in tests/gpu/run.sh; layers_report.py puts their rows beside the targets, in report.md. --size tiny: shapes
# that any machine can run, to try the script; what it measures means nothing. With OUT set all comes there as
# gpu-layers.tar.gz. --before DIR: another build, measured in the same run (stage `before`).
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

stages=(machine vendor products prefill decode reference transformers before streamed small streamed_before)
declare -A limit_s=([machine]=30 [vendor]=40 [products]=40 [prefill]=90 [decode]=60 [reference]=40 [transformers]=60 [before]=60
	[streamed]=150 [small]=40 [streamed_before]=150)
build=build-portable-gpu results=build-gpu-layers archive=gpu-layers.tar.gz python=python3 backend=cuda before=''
# shellcheck source=tests/gpu/stages.bash
. tests/gpu/stages.bash

option() {
	case "$1" in
	--python) python=$2 ;;
	--backend) backend=$2 ;;
	--before) before=$(realpath "$2") ;;
	--size) declare -F "shapes_$2" >/dev/null && "shapes_$2" ;;
	*) return 1 ;;
	esac
}

shapes_full() {
	shape=(--d-model 2048 --d-hidden 768 --experts 128 --kind gated --dtype bf16 --steps 20)
	tokens=1,2,8,16,17,32,64,128,256,512 maths=(bf16 fp32) square=8192
	qwen3=(--preset qwen3-30b-a3b --vram-target 60GiB --headroom 1GiB) prefill_layers=4 decode_layers=24
	lengths=(512 2048 8192) block=(--tokens '1,512,2048,8192')
	fits=(--experts 96 --d-model 2048 --d-hidden 8192 --batch 4 --seq 128 --vram-target 16GiB --headroom 1GiB)
	paged=(--preset qwen3-30b-a3b --vram-target 16GiB --headroom 1GiB) long=(8192 32768) paged_steps=12
	fine=(--kind gated --dtype bf16 --top-k 8 --experts 256 --layers 24 --d-model 256 --d-hidden 128 --vram-target 400MiB --headroom 0)
}

shapes_tiny() {
	shape=(--d-model 64 --d-hidden 48 --experts 4 --kind gated --dtype bf16 --steps 3)
	tokens=1,17,40 maths=(fp32) square=64
	qwen3=(--kind gated --d-model 64 --d-hidden 48 --experts 8 --top-k 2) prefill_layers=2 decode_layers=2
	lengths=(8 40) block=(--tokens '1,8' --experts 4 --top-k 2 --d-model 32 --d-hidden 16 --layers 2 --runs 2)
	fits=(--experts 4 --d-model 64 --d-hidden 128 --batch 2 --seq 16)
	paged=(--kind gated --d-model 64 --d-hidden 48 --experts 8 --top-k 2 --layers 2 --vram-target 448KiB --headroom 0) long=(40) paged_steps=3
	fine=("${paged[@]}")
}

shapes_full

stages_ready() {
	"$ufm" bench --backend "$backend" --experts 1 --d-model 8 --d-hidden 8 --top-k 1 --steps 1 --no-out >/dev/null
}

stages_end() { tests/gpu/layers_report.py "$results" | tee "$results/report.md"; }

# ---- what each stage runs; $1 is its folder

run_machine() { "$ufm" doctor -o json >"$1/machine.json"; }

# A large square product in bf16, by whatever PyTorch brings: the rate that a tensor core's user can have.
run_vendor() {
	"$python" - "$square" <<'P' | tee "$1/rows.jsonl"
import json, statistics, sys, time, torch
n, device = int(sys.argv[1]), "cuda" if torch.cuda.is_available() else "cpu"
a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
taken = []
for run in range(13):
    wait(); begin = time.perf_counter(); a @ b; wait()
    taken.append(time.perf_counter() - begin)
seconds = statistics.median(taken[3:])
print(json.dumps({"bench": "vendor", "n": n, "runs": 10, "torch": torch.__version__, "tflops": 2 * n**3 / seconds / 1e12}))
P
}

run_products() {
	local math rows
	for math in "${maths[@]}"; do
		rows=f32 && [ "$math" != bf16 ] || rows=bf16
		"$build/bench/experts" --backend "$backend" --math "$math" --rows "$rows" "${shape[@]}" --tokens "$tokens" || return 1
	done | tee "$1/rows.jsonl"
}

whole() { # whole OPTION-OF-BENCH... : a layer all of whose experts are resident
	printf 'ufm bench'
	printf ' %q' "$@" && echo
	"$ufm" bench --backend "$backend" --modes baseline --no-out -o jsonl "$@" >>"$folder/rows.jsonl"
}

prefill() { # prefill MATH...
	local math length
	for math in "$@"; do
		for length in "${lengths[@]}"; do
			whole "${qwen3[@]}" --layers "$prefill_layers" --math "$math" --phase prefill --batch 1 --seq "$length" --steps 12 \
				--warmup 3 --probe off || return 1
		done
	done
}

decode() { # decode OPTION-OF-BENCH...
	local batch
	for batch in 1 8; do
		whole "${qwen3[@]}" --layers "$decode_layers" --math "${maths[0]}" --phase decode --batch "$batch" --steps 40 \
			--warmup 10 "$@" || return 1
	done
}

run_prefill() {
	local folder=$1
	prefill "${maths[@]}"
}

run_decode() {
	local folder=$1
	decode
}

run_reference() {
	local folder=$1
	whole "${fits[@]}" --workload uniform --dtype bf16 --math "${maths[0]}" --steps 12 --warmup 3
}

run_transformers() {
	local device=cuda
	[ "$backend" = cuda ] || device=cpu
	"$python" bench/peers/blocks.py --device "$device" --implementations grouped_mm "${block[@]}" | tee "$1/rows.jsonl"
}

through() { # through OPTION-OF-BENCH...: with a pager
	printf 'ufm bench'
	printf ' %q' "$@" && echo
	"$ufm" bench --backend "$backend" --modes ufm --batch 1 --math "${maths[0]}" --no-out -o jsonl "$@" >>"$folder/rows.jsonl"
}

streamed() {
	local length
	through "${paged[@]}" --phase decode --cpu-assist off --steps "$paged_steps" --warmup 12 &&
		through "${paged[@]}" --phase decode --cpu-assist auto --steps "$paged_steps" --warmup 12 || return 1
	for length in "${long[@]}"; do
		through "${paged[@]}" --phase prefill --seq "$length" --cpu-assist off --steps 10 --warmup 2 || return 1
	done
}

small() { through "${fine[@]}" --phase decode --cpu-assist off --steps 40 --warmup 10; }

run_streamed() {
	local folder=$1
	streamed
}

run_small() {
	local folder=$1
	small
}

# By another build, without the longest prompt.
run_streamed_before() {
	[ -n "$before" ] || return 0
	local folder=$1 ufm=$before/ufm
	local long=("${long[0]}")
	export UFM_BACKEND_PATH=$before
	streamed && small
}

# The same products, prefill and decode by another build.
run_before() {
	[ -n "$before" ] || return 0
	local folder=$1 ufm=$before/ufm
	export UFM_BACKEND_PATH=$before
	"$ufm" --version | tee "$1/version.txt"
	"$before/bench/experts" --backend "$backend" --math "${maths[0]}" "${shape[@]}" --tokens "$tokens" >"$1/products.jsonl" &&
		prefill "${maths[0]}" && decode --probe off
}

stages_main "$@"
