#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads a folder of `ufm bench` (all three modes on a GPU), checks what must hold and prints the ratios.

    tests/gpu/report.py FOLDER

Checked, exit status 1 if broken: no row failed; where baseline ran, every mode has its bits; where it did
not, the driver refused the memory; ufm moved no weight byte where everything fits, wrote none back, and
held no more than target less headroom at any sample of the telemetry. Speed is printed, not checked.
"""
import csv
import json
import os
import sys

GIB = 2**30


def rows_of(folder):
    with open(os.path.join(folder, "runs.jsonl"), encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {(row["mode"], row["num_experts"]): row for row in rows}


def held_samples(folder, row):
    path = os.path.join(folder, f"telemetry_{row['mode']}_{row['num_experts']}.csv")
    with open(path, encoding="utf-8", newline="") as lines:
        return [float(sample["gpu_reserved_gb"]) for sample in csv.DictReader(lines)]


def broken_rules(folder, rows):
    for (mode, experts), row in rows.items():
        name = f"{mode}, {experts} experts"
        baseline = rows.get(("baseline", experts))
        if row["status"] == "error" or (row["status"] == "oom" and mode != "baseline"):
            yield f"{name}: {row['status']}: {row['error']}"
            continue
        if row["status"] == "oom":
            if "the driver refused" not in row["error"]:
                yield f"{name}: out of memory, but not by the driver: {row['error']}"
            continue
        if row["backend"] == "cpu":
            yield f"{name}: ran on the cpu backend"
        peers = [r for (_, n), r in rows.items() if n == experts and r["status"] == "ok"]
        if len({r["output_hash"] for r in peers}) != 1:
            yield f"{name}: other bits than another mode"
        if mode == "ufm":
            budget = row["vram_target_bytes"] - row["headroom_bytes"]
            most = max(held_samples(folder, row), default=0.0)
            if most * GIB > budget or row["reserved_vram_bytes"] > budget:
                yield f"{name}: {most:.6f} GiB held, expected at most {budget / GIB:.6f}"
            if row["d2h_weight_bytes"]:
                yield f"{name}: {row['d2h_weight_bytes']} weight bytes written back"
            fits = baseline and baseline["status"] == "ok" and row["slots"] == experts * row["layers"]
            if fits and row["h2d_weight_bytes"]:
                yield f"{name}: everything fits, but {row['h2d_weight_bytes']} weight bytes moved"


def speed(row):
    return row["tokens_per_s"] if row and row["status"] == "ok" else None


def ratio(a, b):
    return f"{a / b:.3f}" if a and b else ""


def figure(value):
    return f"{value:,.0f}" if value else "oom"


def table(folder, rows):
    print("| experts | touched | baseline tok/s | naive_offload tok/s | ufm tok/s | ufm / baseline | ufm / naive "
          "| streamed a step | link GB/s | most held GiB | samples |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for experts in sorted({experts for _, experts in rows}):
        ufm = rows.get(("ufm", experts))
        if not ufm or ufm["status"] != "ok":
            continue
        base, naive = (speed(rows.get((mode, experts))) for mode in ("baseline", "naive_offload"))
        steps = len(ufm["step_ms"])
        step_s = sum(ufm["step_ms"]) / steps / 1e3
        held = held_samples(folder, ufm)
        print(f"| {experts} | {ufm['experts_touched']:.1f} | {figure(base)} | {figure(naive)} | {figure(speed(ufm))} "
              f"| {ratio(speed(ufm), base)} | {ratio(speed(ufm), naive)} | {ufm['streamed_uses'] / steps:.1f} "
              f"| {ufm['h2d_weight_bytes'] / steps / step_s / 1e9:.1f} | {max(held):.3f} | {len(held)} |")


def main():
    if len(sys.argv) != 2:
        print("usage: tests/gpu/report.py FOLDER", file=sys.stderr)
        return 2
    folder = sys.argv[1]
    rows = rows_of(folder)
    broken = list(broken_rules(folder, rows))
    table(folder, rows)
    device = next((row["device"] for row in rows.values() if row["device"]), "no device")
    print(f"\n{device}; tokens over the time of all {max(len(row['step_ms']) for row in rows.values())} steps, one run.")
    for rule in broken:
        print(f"BROKEN {rule}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
