#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2034,SC2154
# Peers beside ufm, over one trace and with the same bytes of device memory for experts, in one table.
#
#   bench/peers/beside.sh --ufm PROGRAM --out DIR [--trace FILE.npy|--sticky] [--budgets 14GiB,8GiB,4GiB]
#                         [--prefill-budgets 8GiB] [--llama-dir DIR] [--wheels DIR] [--python PROGRAM]
#                         [--scratch DIR] [--backend NAME] [--seconds N] [--size full|tiny] [STAGE...]
#
# --llama-dir: a libllama with its headers (include/, lib/; build_llama.sh makes one). --wheels: FreeToken's,
# installed under --scratch; without them it is used where it is installed. --sticky (the default): the trace
# is made by sticky:qwen3-30b-a3b. --scratch: where the model of the trace lies and stays, 30 GiB, one format at a
# time (default: /dev/shm where that has room, and nothing stays). What is absent is left out and named. A stage that has passed is not run
# again. --size tiny: small shapes that a machine without a GPU can run; what it measures means nothing.
# DIR/table.md and table.json are made from what there is, also by `beside_table.py DIR`.
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
here=$(dirname "$(realpath "$0")")

stages=(trace ours ours_prefill blocks llama_resident llama_cache llama_cpu llama_split free_bench free_fused
	free_offload free_hybrid torch_resident torch_lru accelerate)
declare -A limit_s=([trace]=60 [ours]=300 [ours_prefill]=150 [blocks]=90 [llama_resident]=200
	[llama_cache]=240 [llama_cpu]=200 [llama_split]=360 [free_bench]=120 [free_fused]=240
	[free_offload]=300 [free_hybrid]=300 [torch_resident]=120 [torch_lru]=200 [accelerate]=240)
build=build-portable-gpu results=results-beside archive=beside-results.tar.gz
backend=cuda trace='' python=python3 llama='' wheels='' scratch='' budgets='' prefill_budgets='' size=full
# shellcheck source=tests/gpu/stages.bash
. "$here/../../tests/gpu/stages.bash"

option() {
	case "$1" in
	--ufm) build=$(dirname "$2") ;;
	--out) results=$2 ;;
	--trace) trace=$2 ;;
	--budgets) budgets=$2 ;;
	--prefill-budgets) prefill_budgets=$2 ;;
	--llama-dir) llama=$2 ;;
	--wheels) wheels=$2 ;;
	--python) python=$2 ;;
	--scratch) scratch=$2 ;;
	--backend) backend=$2 ;;
	--size) ;; # read before the others, which win over what it sets
	*) return 1 ;;
	esac
}

# ---- shapes

shapes_full() {
	layers=24 experts=128 top_k=8 d_model=2048 d_hidden=768 heads=32 kv_heads=4 head_dim=128
	tokens=2048 warmup=192 steps=576 prompt=2048 block_tokens=1,512,2048,8192 sticky=sticky:qwen3-30b-a3b
	ours=(--preset qwen3-30b-a3b --layers "$layers" --math bf16) device=cuda
	: "${budgets:=14GiB,8GiB,4GiB}" "${prefill_budgets:=8GiB}"
}

shapes_tiny() {
	layers=2 experts=8 top_k=2 d_model=256 d_hidden=256 heads=2 kv_heads=1 head_dim=32
	tokens=64 warmup=8 steps=24 prompt=32 block_tokens=1,7 sticky=sticky:0.4,1,0.1
	ours=(--layers "$layers" --experts "$experts" --top-k "$top_k" --norm-topk --d-model "$d_model"
		--d-hidden "$d_hidden" --kind gated --dtype bf16)
	device=cpu backend=cpu
	: "${budgets:=5MiB,3MiB}" "${prefill_budgets:=5MiB}"
}

model_options() {
	printf '%s\n' --experts "$experts" --d-model "$d_model" --d-hidden "$d_hidden"
}

expert_bytes() { echo $((3 * d_model * d_hidden * 2)); }

bytes_of() { numfmt --from=iec-i "${1%B}"; }

# The budgets in bytes, largest first.
budget_list() {
	local one
	for one in ${1//,/ }; do
		[ "$one" = all ] || bytes_of "$one" || exit 2
	done | sort -rn
}

joined() { paste -sd, -; }

# ---- what is there, and what is left out

stages_ready() {
	local kept=() stage why
	for stage in "${wanted[@]}"; do
		why=$(absent "$stage")
		[ -n "$why" ] && echo "== $stage: left out: $why" || kept+=("$stage")
	done
	wanted=("${kept[@]}")
}

absent() {
	case "$1" in
	llama_*)
		[ -n "$llama" ] || echo "no --llama-dir"
		[ -z "$llama" ] || [ -f "$llama/include/llama.h" ] || echo "$llama has no include/llama.h"
		[ "$1 $device" != "llama_cache cpu" ] || echo "the expert cache of llama.cpp needs a GPU"
		;;
	free_*)
		[ "$device" = cuda ] || echo "FreeToken needs a GPU"
		[ -n "$wheels" ] || has_module freetoken || echo "no --wheels, and FreeToken is not installed"
		;;
	blocks) has_module transformers || echo "transformers is not installed" ;;
	torch_*) has_module torch || echo "torch is not installed" ;;
	accelerate) has_module accelerate || echo "accelerate is not installed" ;;
	esac
}

has_module() {
	"$python" -c "import importlib.util, sys; sys.exit(not importlib.util.find_spec('$1'))" 2>/dev/null
}

scratch_folder() {
	local free
	if [ -z "$scratch" ]; then
		free=$(df --output=avail -B1 /dev/shm 2>/dev/null | tail -n 1)
		scratch=${TMPDIR:-/tmp}
		[ "${free:-0}" -lt $((layers * experts * $(expert_bytes) * 11 / 10)) ] || scratch=/dev/shm
	fi
	mkdir -p "$scratch/ufm-beside" && echo "$scratch/ufm-beside"
}

# The one trace of all stages.
recorded() {
	local file=$results/trace/trace.npy
	[ -f "$file" ] || {
		echo "${0##*/}: $file: found no trace: run the stage trace" >&2
		return 1
	}
	echo "$file"
}

# need_model gguf FILE | folder DIR: written unless it is there; two of them might not have room.
need_model() {
	local other=gguf file at
	file=$(recorded) && at=$(scratch_folder) || return 1
	[ "$1" = folder ] || other=folder
	rm -rf "${at:?}/$other"
	[ -e "$2.whole" ] && return 0
	mapfile -t options < <(model_options)
	"$python" -B "$here/trace_model.py" --trace "$file" "--$1" "$2" --tokens "$tokens" --layers "$layers" \
		--heads "$heads" --kv-heads "$kv_heads" --head-dim "$head_dim" "${options[@]}" || return 1
	touch "$2.whole"
}

# ---- ours

ufm_bench() { # FOLDER NAME OPTION...
	"$ufm" bench --backend "$backend" "${ours[@]}" --no-figures --batch 1 \
		--out "$1/$2" "${@:3}" >"$1/$2.md" || return 1
	tail -n 1 "$1/$2/runs.jsonl" | "$python" -c \
		'import json,sys; r=json.load(sys.stdin); print(sys.argv[1], r["status"], r["tokens_per_s"], "tok/s")' "$2"
}

run_trace() {
	local ahead=()
	if [ -n "$trace" ]; then
		cp "$trace" "$1/trace.npy"
		return
	fi
	# Known ahead every token has ids of its own; one-hot inputs have only as many as the widths below.
	[[ $("$ufm" bench --help) != *--ids* ]] || ahead=(--ids ahead)
	"$ufm" bench --backend cpu --workload "$sticky" "${ahead[@]}" --modes ufm --phase decode --batch 1 --layers "$layers" \
		--experts "$experts" --top-k "$top_k" --kind gated --d-model 32 --d-hidden 32 --steps "$tokens" --warmup 0 \
		--probe off --cpu-assist off --record-trace "$1/trace.npy" --no-out >"$1/bench.md"
}

# ours_rows decode|prefill FOLDER BUDGETS OPTION...: all resident, then each budget with and without the CPU
ours_rows() {
	local phase=$1 folder=$2 list=$3 budget assist file
	file=$(recorded) || return 1
	ufm_bench "$folder" resident-all --modes baseline --phase "$phase" --workload "trace:$file" "${@:4}" || return 1
	for budget in $(budget_list "$list"); do
		for assist in off auto; do
			ufm_bench "$folder" "$assist-$budget" --modes ufm --phase "$phase" --workload "trace:$file" \
				--cpu-assist "$assist" --vram-target "$budget" --headroom 0 "${@:4}" || return 1
		done
	done
}

run_ours() { ours_rows decode "$1" "$budgets" --warmup "$warmup" --steps "$steps"; }

run_ours_prefill() { ours_rows prefill "$1" "$prefill_budgets" --seq "$prompt" --warmup 1 --steps 3; }

# ---- Transformers' block and PyTorch

run_blocks() {
	mapfile -t options < <(model_options)
	"$python" -B "$here/blocks.py" --device "$device" --top-k "$top_k" --tokens "$block_tokens" "${options[@]}" |
		tee "$1/rows.jsonl"
}

torch_rows() { # FOLDER MODE BYTES,…
	local file
	file=$(recorded) || return 1
	mapfile -t options < <(model_options)
	"$python" -B "$here/decode.py" --device "$device" --trace "$file" --mode "$2" --vram-bytes "$3" --layers "$layers" \
		--tokens "$tokens" --warmup "$warmup" --steps "$steps" "${options[@]}" | tee "$1/rows.jsonl"
}

run_torch_resident() { torch_rows "$1" torch_resident 0; }
run_torch_lru() { torch_rows "$1" torch_lru "$(budget_list "$budgets" | joined)"; }
run_accelerate() { torch_rows "$1" accelerate_offload "0,$(budget_list "$budgets" | joined)"; }

# ---- llama.cpp

llama_threads() {
	local cores
	cores=$(nproc)
	printf '%s\n' $((cores - 1)) $((cores * 3 / 4)) $((cores / 2)) | awk '$1 > 0 && !seen[$1]++' | joined
}

llama_rows() { # FOLDER BUDGET OPTION...: the budget in bytes, or null, is noted in the rows
	local at
	at=$(scratch_folder)/gguf
	mkdir -p "$at" && need_model gguf "$at/model.gguf" || return 1
	[ "$at/llama_replay" -nt "$here/llama_replay.cpp" ] || g++ -O2 -std=c++17 -I"$llama/include" "$here/llama_replay.cpp" -L"$llama/lib" -Wl,-rpath,"$(realpath "$llama/lib")" \
		-lllama -lggml -lggml-base -o "$at/llama_replay" || return 1
	"$at/llama_replay" --model "$at/model.gguf" --trace "$(recorded)" --threads "$(llama_threads)" --warmup "$warmup" \
		--steps "$steps" --prefill "$prompt" "${@:3}" | sed -u "s/^{/{\"budget_bytes\": $2, /" | tee -a "$1/rows.jsonl"
}

run_llama_resident() { llama_rows "$1" null --place resident; }
run_llama_cpu() { llama_rows "$1" null --place cpu; }
run_llama_cache() {
	llama_rows "$1" null --place cache --cache-mib "$(budget_list "$budgets" | awk '{ print int($1 / 2^20) }' | joined)"
}
run_llama_split() {
	local budget whole
	for budget in $(budget_list "$budgets"); do
		whole=$((budget / (experts * $(expert_bytes))))
		[ $whole -le "$layers" ] || whole=$layers
		llama_rows "$1" "$budget" --place split --cpu-layers $((layers - whole)) || return 1
	done
}

# ---- FreeToken

free_site() {
	XDG_CACHE_HOME=$(scratch_folder)/cache
	export XDG_CACHE_HOME
	[ -n "$wheels" ] || return 0
	local site
	site=$(scratch_folder)/site
	[ -e "$site.whole" ] || "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" \
		"$wheels"/*.whl || return 1
	touch "$site.whole"
	export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
}

# Its bench of the machine, which its hybrid strategy goes by, for its own number of threads and for ours.
run_free_bench() {
	free_site || return 1
	local threads
	for threads in 0 $(($(nproc) - 1)); do
		"$python" -m freetoken.moe.benchbw --dtype bf16 --cpu-threads "$threads" -o "$1/$threads.json" || return 1
	done
}

free_rows() { # FOLDER STRATEGY OPTION...
	local at found=() file
	free_site || return 1
	at=$(scratch_folder)/folder
	mkdir -p "$at" && need_model folder "$at/model" || return 1
	for file in "$results"/free_bench/*.json; do
		[ ! -f "$file" ] || found+=(--profile "$(basename "$file" .json):$file")
	done
	"$python" -B "$here/freetoken_replay.py" --model "$at/model" \
		--strategy "$2" --warmup "$warmup" --steps "$steps" --prefill "$prompt" "${found[@]}" "${@:3}" | tee "$1/log.jsonl" || return 1
	grep '^{' "$1/log.jsonl" >"$1/rows.jsonl"
}

run_free_fused() { free_rows "$1" fused; }
run_free_offload() { free_rows "$1" offload --cache-bytes "$(budget_list "$budgets" | joined)"; }
run_free_hybrid() { free_rows "$1" hybrid --cache-bytes "$(budget_list "$budgets" | joined)"; }

stages_end() {
	[ -n "$scratch" ] || [ "$left_out" = 1 ] || rm -rf "$(scratch_folder)"
	"$python" -B "$here/beside_table.py" "$results"
}

# --size first: the other options win over what it sets. --sticky is the default.
arguments=()
while [ $# -gt 0 ]; do
	[ "$1" = --sticky ] || arguments+=("$1")
	[ "$1" != --size ] || size=${2:-}
	shift
done
declare -F "shapes_$size" >/dev/null || stages_usage
[ ${#arguments[@]} -gt 0 ] || stages_usage
"shapes_$size"
stages_main "${arguments[@]}"
