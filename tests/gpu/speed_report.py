#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts what tests/gpu/speed.sh measured beside the targets of docs/performance-log.md.

    tests/gpu/speed_report.py RESULTS

Prints one line a target: what was measured, how often, its fraction of the floor, and `met`, `short`,
`no row` (its stage has not run), or `no figure` (the row lacks what the verdict needs). Exit status 1 if
a row failed or carries wrong sums; being short is a result.
"""
import json
import os
import statistics
import sys
from dataclasses import dataclass

# Where the kernels' arithmetic binds and no row of the run has probed it: plain fp32 peak of an H200.
FP32_GFLOPS = 60_000
LINE_US_MAX = 1.0
MET, SHORT, NO_ROW, NO_FIGURE = "met", "short", "no row", "no figure"
FITS, SOME, MANY, MANY_BF16 = 96, 144, 192, 384


@dataclass
class Line:
    case: str
    target: str
    measured: str = ""
    fraction: float | None = None
    verdict: str = NO_ROW
    bound: str = ""


def read_rows(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


class Results:
    """Rows by stage."""

    def __init__(self, folder):
        self.folder = folder

    def rows(self, stage, file="runs.jsonl", folder="rows"):
        return read_rows(os.path.join(self.folder, stage, folder, file))

    def row(self, stage, **wanted):
        """The last ok row with these fields, or None."""
        found = [row for row in self.rows(stage) if row["status"] == "ok"
                 and all(row.get(name) == value for name, value in wanted.items())]
        return found[-1] if found else None

    def probe(self, name):
        """Median of a rate over the rows that probed it."""
        values = [row[name] for stage in ("reference", "reference_cpu", "bf16", "bf16_cpu")
                  for row in self.rows(stage) if row.get(name)]
        return statistics.median(values) if values else None


def steps(row):
    return len(row["step_ms"])


def speed(row):
    step = row["step_ms_median"]
    return f"{row['tokens_per_s']:,.0f} tok/s, {step:,.2f} ms the median step (n={steps(row)})"


def at_least(line, row, target, value=None, more=True):
    """A fraction of the row's own floor (or `value`) against the target; `more` must hold, too."""
    if row is None:
        return line
    line.measured, line.bound = speed(row), row.get("bound_by") or ""
    line.fraction = row.get("fraction_of_floor") if value is None else value
    if line.fraction is None:
        line.verdict = NO_FIGURE
    else:
        line.verdict = MET if line.fraction >= target and more else SHORT
    return line


def of_floor(results, case, target, stage, **wanted):
    line = Line(case, f"≥ {target:.2f} of its floor")
    return at_least(line, results.row(stage, **wanted), target)


def with_cpu(results, case, target, stage, **wanted):
    """As of_floor; a run in which no expert was computed on the CPU has not reached the sum of the paths."""
    line = of_floor(results, case, target, stage, **wanted)
    row = results.row(stage, **wanted)
    if row and not row["cpu_uses"]:
        line.measured += f"; no expert on the CPU: {row.get('cpu_assist') or 'no reason given'}"
        line.verdict = SHORT
    return line


def fits(results):
    base, ufm = (results.row("reference", mode=mode, num_experts=FITS) for mode in ("baseline", "ufm"))
    line = Line(f"{FITS} experts, fp32, ufm against baseline", "≥ 0.99 × baseline, 0 weight bytes")
    if not base or not ufm:
        return line
    at_least(line, ufm, 0.99, ufm["tokens_per_s"] / base["tokens_per_s"], ufm["h2d_weight_bytes"] == 0)
    line.measured += f", {ufm['h2d_weight_bytes']:,} bytes"
    line.bound = "(of baseline)"
    return line


def absolute(results):
    """Tokens a second, on a machine whose paths allow them."""
    row = results.row("reference_cpu", mode="ufm", num_experts=MANY)
    line = Line(f"{MANY} experts, fp32, CPU on, absolute", "≥ 7,300 tok/s at link ≥ 55, host memory ≥ 110 GB/s")
    if row is None:
        return line
    line.measured = speed(row)
    link, dram = row.get("probe_link_gbps"), row.get("probe_dram_gbps")
    if link is None or dram is None:
        line.verdict = NO_FIGURE
        return line
    line.measured += f"; link {link:.1f}, host {dram:.1f} GB/s"
    if row["tokens_per_s"] >= 7300:
        line.verdict = MET
    else:
        line.verdict = SHORT if link >= 55 and dram >= 110 else "does not apply"
    return line


def reference(results):
    yield of_floor(results, f"{FITS} experts, fp32, baseline", 0.75, "reference", mode="baseline", num_experts=FITS)
    yield of_floor(results, f"{FITS} experts, bf16, baseline", 0.85, "bf16", mode="baseline", num_experts=FITS)
    yield fits(results)
    for experts, off, on in ((MANY, 0.97, 0.95), (SOME, 0.97, 0.93)):
        of = dict(mode="ufm", num_experts=experts)
        yield of_floor(results, f"{experts} experts, fp32, CPU off", off, "reference", **of)
        yield with_cpu(results, f"{experts} experts, fp32, CPU on", on, "reference_cpu", **of)
    yield absolute(results)
    of = dict(mode="ufm", num_experts=MANY_BF16)
    yield of_floor(results, f"{MANY_BF16} experts, bf16, CPU off", 0.97, "bf16", **of)
    yield with_cpu(results, f"{MANY_BF16} experts, bf16, CPU on", 0.95, "bf16_cpu", **of)


# ---- kernels alone

def skinny_fraction(row, hbm_gbps, gflops, arithmetic):
    """Of the time that the weights take, or the arithmetic where that counts and takes longer."""
    weights_ms = row["ms"] * row["weights_gbps"] / hbm_gbps
    compute_ms = row["ms"] * row["tflops"] * 1e3 / gflops if arithmetic else 0
    return max(weights_ms, compute_ms) / row["ms"]


def skinny(results):
    rows = results.rows("skinny")
    hbm = results.probe("probe_hbm_gbps")
    # In older rows the probe is what these kernels reach themselves: it must not lower their own floor.
    gflops = max(results.probe("probe_gflops") or 0, FP32_GFLOPS)
    for dtype, least, most, target, what in (
            ("bf16", 1, 32, 0.80, "HBM"), ("f32", 1, 8, 0.80, "HBM"), ("f32", 9, 16, 0.70, "HBM"),
            ("f32", 17, 32, 0.70, "min(HBM, arithmetic)")):
        line = Line(f"skinny kernels, {dtype}, {least}–{most} tokens an expert", f"≥ {target:.2f} of {what}")
        mine = [row for row in rows if row["dtype"] == dtype and least <= row["tokens"] <= most]
        if mine and not hbm:
            line.verdict = NO_FIGURE
        elif mine:
            fractions = [(skinny_fraction(row, hbm, gflops, "arith" in what), row) for row in mine]
            line.fraction, worst = min(fractions, key=lambda pair: pair[0])
            line.measured = (f"worst of {len(mine)}: {worst['tokens']} tokens, {worst['weights_gbps']:,.0f} GB/s, "
                             f"{worst['tflops']:.1f} TFLOP/s (n={worst['steps']})")
            line.verdict = MET if line.fraction >= target else SHORT
        yield line


# ---- published shapes

def once_a_layer(row):
    """Every use is of another expert of the layer, and no byte moved but for a use."""
    uses = row["uses"] / steps(row) / row["layers"]
    return abs(uses - row["experts_touched"]) <= 0.005 * uses and not row["prefetch_loads"]


def prefill(results, tokens, off_stage, on_stage):
    of = dict(mode="ufm", phase="prefill", seq=tokens)
    off, on = results.row(off_stage, **of), results.row(on_stage, **of)
    line = Line(f"qwen3-30b-a3b, prefill of {tokens:,}, CPU off",
                "≥ 0.92 of the link floor, each miss moved once a layer")
    at_least(line, off, 0.92, more=bool(off) and once_a_layer(off))
    if off:
        line.measured += f"; {off['uses'] / steps(off) / off['layers']:.1f} uses of {off['experts_touched']:.1f}"
    yield line
    line = Line(f"qwen3-30b-a3b, prefill of {tokens:,}, CPU on", "never slower than off")
    if off and on:
        # What repeats within a percent is no slower.
        at_least(line, on, 0.99, on["tokens_per_s"] / off["tokens_per_s"])
        line.bound = "(of CPU off)"
    yield line


def hit_rate(results):
    """The bench's hits against a replay of the same tokens by the same policy."""
    line = Line("gpt-oss-20b, recorded routing, hit rate", "within 0.02 of the policy in replay")
    row = results.row("gptoss", mode="ufm", phase="decode")
    if row is None:
        return line
    mine = row["resident_uses"] / row["uses"]
    line.measured = f"{mine:.4f} (n={steps(row)})"
    replayed = [found for found in results.rows("gptoss", "replay.jsonl")
                if (found["policy"], found["capacity"]) == (row["policy"], row["slots"])]
    if not replayed:
        line.verdict = NO_FIGURE
        return line
    line.measured += f", replay {replayed[0]['hit_rate']:.4f} of {row['slots']} slots, {row['policy']}"
    line.verdict = MET if abs(mine - replayed[0]["hit_rate"]) <= 0.02 else SHORT
    return line


def everything_resident(results):
    base, ufm = (results.row("resident", mode=mode) for mode in ("baseline", "ufm"))
    line = Line("everything resident, qwen3 decode, baseline", "≤ 40 µs a layer")
    if base:
        at_least(line, base, 0)
        layer_us = base["step_ms_median"] * 1e3 / base["layers"]
        line.measured = f"{layer_us:.1f} µs a layer, " + line.measured
        line.verdict = MET if layer_us <= 40 else SHORT
    yield line
    line = Line("everything resident, qwen3 decode, ufm", "≥ 0.95 × baseline")
    if base and ufm:
        at_least(line, ufm, 0.95, ufm["tokens_per_s"] / base["tokens_per_s"])
        line.bound = "(of baseline)"
    yield line


def shapes(results):
    of = dict(mode="ufm", phase="decode")
    yield of_floor(results, "qwen3-30b-a3b, decode, CPU off", 0.92, "qwen3", **of)
    yield with_cpu(results, "qwen3-30b-a3b, decode, CPU on", 0.75, "qwen3_cpu", **of)
    yield from prefill(results, 512, "qwen3", "qwen3_cpu")
    yield from prefill(results, 8192, "prefill", "prefill_cpu")
    yield hit_rate(results)
    yield of_floor(results, "gpt-oss-20b, recorded routing, CPU off", 0.85, "gptoss", **of)
    yield with_cpu(results, "gpt-oss-20b, recorded routing, CPU on", 0.70, "gptoss_cpu", **of)
    yield from everything_resident(results)


# ---- small blocks

def small(results, kib, phase):
    """Several blocks a copy against one, in the same run."""
    line = Line(f"blocks of {kib} KiB, {phase}, CPU off", "faster than one by one")
    together, alone = (next((row for row in results.rows("small", folder=f"{how}_{kib}")
                             if row["status"] == "ok" and row["phase"] == phase), None)
                       for how in ("together", "alone"))
    if not together or not alone:
        return line
    times = together["tokens_per_s"] / alone["tokens_per_s"]
    at_least(line, together, 0)
    line.measured += (f"; {together['streamed_uses'] / together['copies']:.1f} a copy, {times:.2f} × one by one, "
                      f"{together['link_gbps_used']:.1f} and {alone['link_gbps_used']:.1f} GB/s")
    line.measured += f"; {together['resident_uses']:,} hits, {alone['resident_uses']:,}"
    line.verdict = MET if times > 1 else SHORT
    return line


def small_blocks(results):
    for kib in (192, 768):
        for phase in ("decode", "prefill"):
            yield small(results, kib, phase)


# ---- growth

def straight_line(points):
    """Least squares: intercept and slope of y over x."""
    mean_x, mean_y = (statistics.fmean(values) for values in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y - slope * mean_x, slope


def growth(results):
    """Step time over missed bytes; what a point lies off the line, over its number of experts."""
    line = Line("growth, fp32, CPU off", f"a straight line, ≤ {LINE_US_MAX:.0f} µs an expert off it")
    rows = [row for row in results.rows("growth") if row["status"] == "ok"]
    if len(rows) < 3:
        return line
    points = [(row["h2d_weight_bytes"] / steps(row), row["step_ms_median"] * 1e3) for row in rows]
    start_us, slope = straight_line(points)
    if slope <= 0:
        line.measured, line.verdict = "no slope", SHORT
        return line
    off_us = [abs(y - start_us - slope * x) / row["num_experts"] for (x, y), row in zip(points, rows)]
    worst = max(off_us)
    at = rows[off_us.index(worst)]["num_experts"]
    line.measured = (f"{1e-3 / slope:.2f} GB/s + {start_us / 1e3:.2f} ms; worst {worst:.2f} µs an expert, at {at} "
                     f"({len(rows)} counts, n={min(map(steps, rows))})")
    line.verdict = MET if worst <= LINE_US_MAX else SHORT
    return line


def cpu_backend(results):
    base, ufm = (results.row("cpu_backend", mode=mode) for mode in ("baseline", "ufm"))
    line = Line("CPU backend, 2 cores, fits", "ufm ≥ 0.95 × baseline")
    if base and ufm:
        at_least(line, ufm, 0.95, ufm["tokens_per_s"] / base["tokens_per_s"])
        line.bound = "(of baseline)"
    return line


def lines_of(results):
    return [*reference(results), *skinny(results), *shapes(results), *small_blocks(results), growth(results), cpu_backend(results)]


# ---- what must hold

STAGES = ("reference", "reference_cpu", "bf16", "bf16_cpu", "qwen3", "qwen3_cpu", "prefill", "prefill_cpu", "gptoss",
          "gptoss_cpu", "resident", "growth", "timeline", "cpu_backend", "peers")


def broken(results):
    for stage in STAGES:
        for row in results.rows(stage):
            name = f"{stage}: {row['mode']}, {row['num_experts']} experts"
            if row["status"] == "error" or (row["status"] == "oom" and row["mode"] == "ufm"):
                yield f"{name}: {row['status']}: {row['error']}"
            fraction = row.get("fraction_of_floor")
            # On the cpu backend all paths share the cores, and a small bank is probed out of caches.
            if fraction is not None and fraction > 1.05 and row.get("backend") != "cpu":
                yield f"{name}: {fraction:.2f} of its floor: the floor is wrong"
    yield from other_bits(results)


def other_bits(results):
    """With the CPU path off, ufm has the bits of the baseline."""
    for stage in ("reference", "bf16", "resident", "cpu_backend"):
        for row in results.rows(stage):
            base = results.row(stage, mode="baseline", num_experts=row["num_experts"])
            if base and row["status"] == "ok" and row["output_hash"] != base["output_hash"]:
                yield f"{stage}: {row['mode']}, {row['num_experts']} experts: other bits than baseline"


def print_lines(lines):
    print("| case | target | measured | of its floor | bound by | verdict |")
    print("|---|---|---|--:|---|---|")
    for line in lines:
        fraction = "" if line.fraction is None else f"{line.fraction:.3f}"
        print(f"| {line.case} | {line.target} | {line.measured} | {fraction} | {line.bound} | {line.verdict} |")


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print("usage: tests/gpu/speed_report.py RESULTS", file=sys.stderr)
        return 2
    results = Results(sys.argv[1])
    lines = lines_of(results)
    print_lines(lines)
    tally = {word: sum(line.verdict == word for line in lines) for word in (MET, SHORT, NO_FIGURE, NO_ROW)}
    print("\n" + ", ".join(f"{count} {word}" for word, count in tally.items()) + ".")
    wrong = list(broken(results))
    for rule in wrong:
        print(f"BROKEN {rule}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
