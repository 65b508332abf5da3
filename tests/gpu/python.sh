#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2034,SC2154
# The Python package on a GPU: a whole model of Transformers with its experts paged, beside the same model all
# resident, offloaded by accelerate, and without its experts.
#
#   tests/gpu/python.sh [--build DIR] [--results DIR] [--seconds N] [--python PROGRAM] [--model DIR] [STAGE...]
#
# The model (24 layers of Qwen3-30B-A3B's geometry, bf16, 29 GB) is made by bench/peers/trace_model.py and lies in
# --model (default: /tmp/ufm-model); its routing is a trace. `big` makes one of 48 layers (58 GiB) in its place, so it
# comes last and is run by name only. Stages as in tests/gpu/run.sh. --build: of libufm.
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

stages=(machine model checks vram whole resident layers accelerate)
declare -A limit_s=([machine]=30 [model]=120 [checks]=120 [whole]=240 [resident]=200 [accelerate]=240 [layers]=120 [vram]=90 [big]=400)
build=build-portable-gpu results=build-gpu-python archive=gpu-python.tar.gz python=python3 model=/tmp/ufm-model
# shellcheck source=tests/gpu/stages.bash
. tests/gpu/stages.bash

option() {
	case "$1" in
	--python) python=$2 ;;
	--model) model=$2 ;;
	*) return 1 ;;
	esac
}

stages_ready() {
	export PYTHONPATH=$PWD/python UFM_LIBRARY=$build/libufm.so.2 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
	"$python" -c 'import sys, torch, transformers, ufm; sys.exit(not torch.cuda.is_available())'
}

run_machine() {
	"$ufm" doctor -o json >"$1/machine.json" && nvidia-smi -q | sed '/Serial Number\|UUID/d' >"$1/nvidia-smi.txt"
	"$python" -c 'import torch, transformers; print(torch.__version__, transformers.__version__)' | tee "$1/versions.txt"
}

# The trace is ids of a synthetic router after Qwen3-30B-A3B; every token has ids of its own.
make_model() { # FOLDER LAYERS
	rm -rf "${model:?}"
	"$ufm" bench --backend cpu --workload sticky:qwen3-30b-a3b --ids ahead --modes ufm --phase decode --batch 1 \
		--layers "$2" --experts 128 --top-k 8 --kind gated --d-model 32 --d-hidden 32 --steps 2048 --warmup 0 \
		--probe off --cpu-assist off --record-trace "$1/trace.npy" --no-out >"$1/bench.md" &&
		"$python" bench/peers/trace_model.py --trace "$1/trace.npy" --folder "$model" --tokens 2048 --layers "$2" \
			--experts 128 --d-model 2048 --d-hidden 768 --heads 32 --kv-heads 4 --head-dim 128
}

run_model() { make_model "$1" 24; }

# A whole checkpoint's bytes, read past the page cache, in 20 GiB; fewer layers where the disk has no room for 48.
run_big() {
	local layers=48 room layer_bytes=1255000000
	rm -rf "${model:?}"
	room=$(($(df -B1 --output=avail "$(dirname "$model")" | tail -n 1)))
	[ "$((room / layer_bytes - 1))" -ge "$layers" ] || layers=$((room / layer_bytes - 1))
	echo "$layers layers, $room bytes of disk are free"
	make_model "$1" "$layers" && "$python" tests/gpu/python_vram.py "$model" --vram 20GiB --cold --prompts 16 --new 1024 | tee "$1/rows.jsonl"
}

run_checks() {
	UFM_TEST_BACKEND=cuda "$build/tests/unit/test_lend" &&
		"$python" -m pytest -q -p no:cacheprovider tests/python/test_on_gpu.py tests/python/test_lender_on_gpu.py
}

bench() { # FOLDER OPTION...
	"$python" -m ufm bench "$model" --out "$1" --limit 40 "${@:2}"
}

run_whole() { bench "$1" --modes ufm,stub --experts 8GiB,100%; }

run_resident() { bench "$1" --modes resident; }

run_accelerate() { bench "$1" --modes accelerate --experts 8GiB --warmup 4 --steps 12 --repeats 1 --decode-repeats 1; }

# The routed layers alone, by the command, over the same trace with ids from each layer's own router.
run_layers() {
	local budget
	for budget in 8GiB 100%; do
		"$ufm" bench --backend cuda --preset qwen3-30b-a3b --layers 24 --math bf16 --no-figures --batch 1 --modes ufm \
			--phase decode --workload "trace:$results/model/trace.npy" --warmup 192 --steps 256 --headroom 0 \
			--vram-target "$budget" --out "$1/$budget" >"$1/$budget.md" || return 1
	done
}

run_vram() { "$python" tests/gpu/python_vram.py "$model" --vram 12GiB | tee "$1/rows.jsonl"; }

stages_main "$@"
