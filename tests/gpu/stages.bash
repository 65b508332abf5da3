# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: MIT
# How the scripts of this folder run their stages. A script sets
#   stages, limit_s      names in order; the most seconds each may take
#   build, results       default folders
#   archive              name of the file that OUT gets
#   (its own options come to `option NAME VALUE`, which returns 1 for one that it does not know)
# defines run_STAGE FOLDER for each, `option`, `stages_ready` (is there something to run on?) and, if it
# likes, `stages_end`, and calls stages_main "$@".

stages_usage() {
	sed -n '/^#   /p' "$0" >&2
	exit 2
}

stages_arguments() {
	while [ $# -gt 0 ]; do
		case "$1" in
		--build | --results | --seconds | -*) ;;
		*)
			[ -n "${limit_s[$1]:-}" ] || {
				echo "${0##*/}: stage '$1', expected one of ${stages[*]}" >&2
				exit 2
			}
			wanted+=("$1") && shift
			continue
			;;
		esac
		[ $# -gt 1 ] || stages_usage
		case "$1" in
		--build) build=$2 ;;
		--results) results=$2 ;;
		--seconds) seconds=$2 ;;
		*) option "$1" "$2" || stages_usage ;;
		esac
		given+=("$1" "$2") && shift 2
	done
	[ ${#wanted[@]} -gt 0 ] || wanted=("${stages[@]}")
}

stages_build() {
	local found
	found=$(realpath "$build" 2>/dev/null)
	[ -x "$found/ufm" ] || {
		echo "${0##*/}: no build: cmake --preset portable-gpu && cmake --build --preset portable-gpu" >&2
		exit 3
	}
	build=$found ufm=$found/ufm
	export UFM_BACKEND_PATH=$build UFM_BUILD_DIR=$build LC_ALL=C.UTF-8
}

# What another build measured is no result of this one.
stages_version() {
	local version
	version=$("$ufm" --version)
	mkdir -p "$results"
	if [ "$(cat "$results/version.txt" 2>/dev/null)" != "$version" ]; then
		rm -f "$results"/*/passed
		printf '%s\n' "$version" >"$results/version.txt"
	fi
}

# The script calls itself for a stage, so that a limit ends all that the stage started.
stages_run_one() {
	local stage=$1 folder=$results/$1 began=$SECONDS
	rm -rf "$folder" && mkdir -p "$folder"
	if UFM_GPU_STAGE=$stage timeout -k 10 "${limit_s[$stage]}" "$0" "${given[@]}" 2>&1 |
		tee "$folder/log.txt" | tail -n 25; then
		touch "$folder/passed"
		echo "== $stage: passed ($((SECONDS - began)) s)"
	else
		failed=1
		echo "== $stage: FAILED ($((SECONDS - began)) s)"
	fi
}

stages_run() {
	local stage
	for stage in "${wanted[@]}"; do
		if [ -e "$results/$stage/passed" ]; then
			echo "== $stage: passed before"
		elif [ $((seconds - SECONDS)) -lt "${limit_s[$stage]}" ]; then
			echo "== $stage: left out, it may take ${limit_s[$stage]} s"
			left_out=1
		else
			stages_run_one "$stage"
		fi
	done
}

stages_main() {
	local seconds=100000 wanted=() given=() failed=0 left_out=0 ufm
	stages_arguments "$@"
	stages_build
	local stage=${UFM_GPU_STAGE:-}
	unset UFM_GPU_STAGE # what a stage starts may be such a script, too
	if [ -n "$stage" ]; then
		"run_$stage" "$results/$stage"
		exit
	fi
	stages_ready || exit 3
	stages_version
	stages_run
	! declare -F stages_end >/dev/null || stages_end || failed=1
	if [ -n "${OUT:-}" ]; then
		tar czf "$OUT/$archive" -C "$(dirname "$results")" "$(basename "$results")"
	fi
	[ $failed = 0 ] || exit 1
	[ $left_out = 0 ] || exit 75
}
