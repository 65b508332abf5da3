#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Measures what docs/performance-log.md has targets for, on a machine with a GPU, in stages: the reference case,
# the kernels alone, decode and prefill of published shapes, growth, a timeline, and peers beside us.
#
#   tests/gpu/speed.sh [--build DIR] [--results DIR] [--seconds N] [--trace FILE.npy] [--python PROGRAM]
#                      [--backend NAME] [--size full|tiny] [STAGE...]
#
# A stage that has passed for this build is not run again: run it once more, with the same results folder,
# after an interruption, and it goes on. --seconds: no stage is begun that could need longer than what is
# left of them. --trace: recorded routing of gpt-oss-20b. --size tiny: small shapes that any machine can
# run, to try the script; what it measures means nothing. Every stage leaves its rows, command and machine
# record in a folder of its name; speed_report.py puts them beside the targets, in report.md; with OUT set
# all comes there as speed-results.tar.gz.
# Exit: 0 all stages passed, 1 one failed, 3 nothing to run on, 75 time ran out first (run it again).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

stages=(machine reference reference_cpu bf16 bf16_cpu skinny qwen3 qwen3_cpu prefill prefill_cpu gptoss
	gptoss_cpu resident small growth timeline cpu_backend peers)
declare -A limit_s=([machine]=30 [reference]=75 [reference_cpu]=50 [bf16]=75 [bf16_cpu]=50 [skinny]=60
	[qwen3]=80 [qwen3_cpu]=80 [prefill]=80 [prefill_cpu]=80 [gptoss]=60 [gptoss_cpu]=60 [resident]=60
	[small]=60 [growth]=150 [timeline]=40 [cpu_backend]=40 [peers]=200)
build=build-portable-gpu results=build-gpu-speed archive=speed-results.tar.gz
backend=cuda trace='' python=python3
# shellcheck source=tests/gpu/stages.bash
. tests/gpu/stages.bash

option() {
	case "$1" in
	--trace) trace=$2 ;;
	--python) python=$2 ;;
	--backend) backend=$2 ;;
	--size) declare -F "shapes_$2" >/dev/null && "shapes_$2" ;;
	*) return 1 ;;
	esac
}

stages_ready() {
	"$ufm" bench --backend "$backend" --experts 1 --d-model 8 --d-hidden 8 --top-k 1 --steps 1 --no-out >/dev/null
}

# ---- the cases, and what they shrink to

shapes_full() {
	fits=96 some=144 many=192 many_bf16=384 growing=96,160,224,320,448,640
	shape=(--d-model 2048 --d-hidden 8192 --batch 4 --seq 128)
	budget=(--vram-target 16GiB --headroom 1GiB) card=(--vram-limit 23.51GiB)
	qwen3=(--preset qwen3-30b-a3b) qwen3_budget=(--vram-target 16GiB --headroom 1GiB)
	qwen3_whole=(--vram-target 60GiB --headroom 1GiB)
	gptoss=(--preset gpt-oss-20b) gptoss_budget=(--vram-target 12GiB --headroom 1GiB)
	short=512 long=8192 decode_steps=30 decode_warmup=12 trace_steps=400 trace_warmup=100
	small_layers=24 small_budget_mib=(400 1600)
	kernels=(--d-model 2048 --d-hidden 8192 --experts 96 --tokens '1,2,4,8,9,12,16,24,32')
	peers=(--d-model 2048 --d-hidden 8192 --tokens 512)
}

shapes_tiny() {
	fits=12 some=18 many=24 many_bf16=48 growing=12,18,24,40
	shape=(--d-model 256 --d-hidden 1024 --batch 2 --seq 32)
	budget=(--vram-target 36MiB --headroom 1MiB) card=(--vram-limit 48MiB)
	qwen3=(--preset qwen3-30b-a3b --layers 1) qwen3_budget=(--vram-target 384MiB --headroom 0)
	qwen3_whole=(--vram-target 1300MiB --headroom 0)
	gptoss=(--preset gpt-oss-20b --layers 1) gptoss_budget=(--vram-target 640MiB --headroom 0)
	short=32 long=64 decode_steps=3 decode_warmup=2 trace_steps=6 trace_warmup=2
	small_layers=2 small_budget_mib=(64 192)
	kernels=(--d-model 256 --d-hidden 512 --experts 4 --tokens '1,9,32')
	peers=(--d-model 256 --d-hidden 1024 --tokens 64)
}

shapes_full

# ---- what each stage runs; $1 is its folder

run_machine() {
	"$ufm" doctor -o json >"$1/machine.json" || return 1
	[ "$backend" = cpu ] || nvidia-smi -q | sed '/Serial Number\|UUID/d' >"$1/nvidia-smi.txt" || return 1
	"$ufm" doctor
}

record() { # record FOLDER NAME OPTION-OF-BENCH...
	UFM=$ufm RESULTS=$1 tools/record "$2" --backend "$backend" --no-figures "${@:3}"
}

math_of() { # bf16 weights on tensor cores; the cpu backend has fp32 alone
	if [ "$1" = bf16 ] && [ "$backend" != cpu ]; then echo bf16; else echo fp32; fi
}

layer() { # the reference case: layer FOLDER DTYPE CPU-ASSIST OPTION...
	record "$1" rows "${shape[@]}" "${budget[@]}" --workload uniform --dtype "$2" --math "$(math_of "$2")" \
		--steps 10 --warmup 2 --cpu-assist "$3" "${@:4}"
}

run_reference() { layer "$1" f32 off "${card[@]}" --modes baseline,ufm --experts "$fits,$some,$many"; }
run_reference_cpu() { layer "$1" f32 auto --modes ufm --experts "$fits,$some,$many"; }
run_bf16() { layer "$1" bf16 off "${card[@]}" --modes baseline,ufm --experts "$fits,$many_bf16"; }
run_bf16_cpu() { layer "$1" bf16 auto --modes ufm --experts "$many_bf16"; }
run_growth() { layer "$1" f32 off --modes ufm --experts "$growing"; }
run_timeline() {
	layer "$1" f32 auto --modes ufm --experts "$many" --steps 3 --timeline "$1/timeline.json" &&
		gzip -f "$1/timeline.json"
}

# The program for kernels alone; one row a line.
run_skinny() {
	local program=$build/bench/experts dtype
	mkdir -p "$1/rows"
	for dtype in f32 bf16; do
		"$program" --backend "$backend" --dtype "$dtype" --math "$(math_of "$dtype")" "${kernels[@]}" || return 1
	done | tee "$1/rows/runs.jsonl"
}

shaped() { # shaped FOLDER CPU-ASSIST OPTION...
	record "$1" rows --modes ufm --batch 1 --math "$(math_of bf16)" --cpu-assist "$2" "${@:3}"
}

decode_and_short() { # one filled bank serves both phases
	shaped "$1" "$2" "${qwen3[@]}" "${qwen3_budget[@]}" --phase decode,prefill --seq "$short" --steps 10 \
		--warmup "$decode_warmup"
}
prefill_long() {
	shaped "$1" "$2" "${qwen3[@]}" "${qwen3_budget[@]}" --phase prefill --seq "$long" --steps 10 --warmup 1
}
run_qwen3() { decode_and_short "$1" off; }
run_qwen3_cpu() { decode_and_short "$1" auto; }
run_prefill() { prefill_long "$1" off; }
run_prefill_cpu() { prefill_long "$1" auto; }
run_resident() {
	shaped "$1" off "${qwen3[@]}" "${qwen3_whole[@]}" --modes baseline,ufm --phase decode \
		--steps "$decode_steps" --warmup "$decode_warmup"
}

small_blocks() { # small_blocks FOLDER NAME MIB D-MODEL D-HIDDEN RING
	record "$1" "$2" --modes ufm --kind gated --dtype bf16 --math "$(math_of bf16)" --top-k 8 --experts 256 \
		--layers "$small_layers" --d-model "$4" --d-hidden "$5" --vram-target "$3MiB" --headroom 0 \
		--phase decode,prefill --seq "$short" --batch 1 --steps 20 --warmup 4 --cpu-assist off --ring "$6"
}
# Blocks of 192 and 768 KiB, as many to a copy as suits them; a ring of four slots has them come one by one.
run_small() {
	small_blocks "$1" together_192 "${small_budget_mib[0]}" 256 128 auto &&
		small_blocks "$1" alone_192 "${small_budget_mib[0]}" 256 128 4 &&
		small_blocks "$1" together_768 "${small_budget_mib[1]}" 512 256 auto &&
		small_blocks "$1" alone_768 "${small_budget_mib[1]}" 512 256 4
}

recorded() {
	[ -r "$trace" ] || {
		echo "speed.sh: --trace '$trace': expected the recorded routing of gpt-oss-20b (.npy)" >&2
		return 1
	}
	shaped "$1" "$2" "${gptoss[@]}" "${gptoss_budget[@]}" --phase decode --workload "trace:$trace" \
		--steps "$trace_steps" --warmup "$trace_warmup"
}

# The same tokens without a device: the engine's pool, ring and order of copies.
replay() {
	local row=$1/rows/runs.jsonl slots ring policy
	slots=$(grep -o '"slots":[0-9]*' "$row" | head -n 1 | cut -d: -f2)
	ring=$(grep -o '"ring_slots":[0-9]*' "$row" | head -n 1 | cut -d: -f2)
	policy=$(grep -o '"policy":"[^"]*"' "$row" | head -n 1 | cut -d'"' -f4)
	"$ufm" replay "$trace" --scope pool --capacity "$slots" --ring "$ring" --policy "$policy" \
		--warmup "$trace_warmup" --steps "$trace_steps" -o jsonl >"$1/rows/replay.jsonl"
}
run_gptoss() { recorded "$1" off && replay "$1"; }
run_gptoss_cpu() { recorded "$1" auto; }

run_cpu_backend() {
	UFM=$ufm RESULTS=$1 taskset -c 0,1 tools/record rows --quick --backend cpu --threads 2 --link-gbps off \
		--modes baseline,ufm --experts 48 --steps 10 --cpu-assist off --no-figures
}

run_peers() {
	local beside=() stage modes=()
	for stage in reference reference_cpu; do
		[ ! -e "$results/$stage/rows/runs.jsonl" ] || beside+=("$results/$stage/rows")
	done
	"$python" -c 'import accelerate' 2>/dev/null || {
		echo "speed.sh: accelerate is not installed for $python: left out"
		modes=(--modes 'torch_resident,torch_lru,torch_restream,torch_naive')
	}
	[ "$backend" = cuda ] || modes+=(--device "$backend")
	"$python" -B bench/peers/run.py "${peers[@]}" "${modes[@]}" --self-test &&
		"$python" -B bench/peers/run.py "${peers[@]}" "${modes[@]}" "${budget[@]}" "${card[@]}" \
			--experts "$fits,$some,$many" --out "$1/rows" --beside "${beside[@]}"
}

stages_end() { "$python" -B tests/gpu/speed_report.py "$results" | tee "$results/report.md"; }

stages_main "$@"
