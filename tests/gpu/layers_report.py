#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts what tests/gpu/layers.sh measured beside the targets: one line each, as a table.

    tests/gpu/layers_report.py RESULTS

A line whose stage has not run says so. Being short is a result: the exit status is 0 unless RESULTS is no folder (4).
"""
import json
import os
import sys


def read(folder, stage, name="rows.jsonl"):
    path = os.path.join(folder, stage, name)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def find(rows, **wanted):
    """The last row with these fields, or None."""
    found = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return found[-1] if found else None


def layer_us(row):
    return row["step_ms_median"] / row["layers"] * 1e3 if row else None


def shown(value, digits=0):
    return "not measured" if value is None else f"{value:,.{digits}f}"


def verdict(value, target, less_is_better=False):
    if value is None:
        return ""
    return "met" if (value <= target if less_is_better else value >= target) else "short"


def product_lines(folder):
    """Fractions of what memory, or the vendor's product, gives."""
    products, vendor = read(folder, "products"), find(read(folder, "vendor"), bench="vendor")
    decode = find(read(folder, "decode"), batch=1)
    hbm = decode.get("probe_hbm_gbps") if decode else None
    peak = vendor["tflops"] if vendor else None
    for tokens, target in ((64, 0.80), (128, 0.55), (512, 0.65)):
        row = find(products, math="bf16", tokens=tokens)
        of_peak = row["tflops"] / peak if row and peak else None
        of_memory = row["weights_gbps"] / hbm if row and hbm else None
        share = of_peak if tokens > 64 or of_memory is None else max(of_memory, of_peak or 0)
        text = row and f"{row['ms']:.3f} ms, {row['weights_gbps']:,.0f} GB/s, {row['tflops']:.0f} TFLOP/s"
        yield f"bf16 products, {tokens} rows", text or "not measured", f"{target:.2f}", share, verdict(share, target)
    row = find(products, math="fp32", tokens=512)
    share = row["tflops"] / (peak / 3) if row and peak else None
    text = row and f"{row['ms']:.3f} ms, {row['tflops']:.0f} TFLOP/s"
    yield "f32-exact products, 512 rows, of a third", text or "not measured", "0.60", share, verdict(share, 0.60)


def prefill_lines(folder):
    rows, peers = read(folder, "prefill"), read(folder, "transformers")
    before = read(folder, "before")
    for math in ("bf16", "fp32"):
        for seq, target in ((512, 400), (2048, 650), (8192, 1600)):
            found = layer_us(find(rows, math=math, seq=seq, phase="prefill"))
            peer = find(peers, implementation="grouped_mm", tokens=seq)
            old = layer_us(find(before, math=math, seq=seq, phase="prefill"))
            text = f"{shown(found)} µs (before {shown(old)}; Transformers {shown(peer['us'] if peer else None)})"
            bound = target if math == "bf16" else None
            yield (f"resident layer, {math}, {seq:,} tokens", text, f"≤ {bound:,} µs" if bound else "",
                   None, verdict(found, bound, True) if bound else "")


def decode_lines(folder):
    rows, before = read(folder, "decode"), read(folder, "before")
    for batch in (1, 8):
        row = find(rows, batch=batch, phase="decode")
        found, old = layer_us(row), layer_us(find(before, batch=batch, phase="decode"))
        text = f"{shown(found, 1)} µs (before {shown(old, 1)})"
        if batch == 1:
            yield "resident decode, batch 1", text, "≤ 30 µs", None, verdict(found, 30, True)
            continue
        share = row.get("fraction_of_floor") if row else None
        yield "resident decode, batch 8", text, "0.60", share, verdict(share, 0.60)
    row = find(read(folder, "reference"), phase="prefill") or find(read(folder, "reference"))
    share = row.get("fraction_of_floor") if row else None
    text = f"{shown(row['step_ms_median'], 3) if row else 'not measured'} ms"
    yield "reference, 96 experts, bf16, baseline", text, "0.85", share, verdict(share, 0.85)


def streamed_lines(folder):
    """Fractions of what the link, or link and CPU, would need for the misses."""
    rows, before = read(folder, "streamed"), read(folder, "streamed_before")
    cases = [("decode, CPU off", 0.94, {"phase": "decode", "cpu_assist_asked": "off", "layers": 48}),
             ("decode, CPU auto", 0.85, {"phase": "decode", "cpu_assist_asked": "auto", "layers": 48}),
             ("prefill of 8,192", 0.93, {"phase": "prefill", "seq": 8192}),
             ("prefill of 32,768", 0.93, {"phase": "prefill", "seq": 32768})]
    for name, target, wanted in cases:
        yield streamed_line(f"48 layers at 16 GiB, {name}", target, find(rows, **wanted), find(before, **wanted))
    fine = {"phase": "decode", "layers": 24}
    yield streamed_line("blocks of 192 KiB, decode", 0.4, find(read(folder, "small"), **fine), find(before, **fine))


def streamed_line(case, target, row, old):
    share, was = (found.get("fraction_of_floor") if found else None for found in (row, old))
    text = f"{shown(row and row['step_ms_median'], 2)} ms (before {shown(old and old['step_ms_median'], 2)}, {shown(was, 3)})"
    return case, text, f"{target:.2f}", share, verdict(share, target)


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print(__doc__.split("\n", 1)[0] + "\nexpected: the folder of results", file=sys.stderr)
        return 4 if len(sys.argv) == 2 else 2
    folder = sys.argv[1]
    vendor = find(read(folder, "vendor"), bench="vendor")
    print(f"Vendor's product, bf16: {shown(vendor['tflops'] if vendor else None)} TFLOP/s\n")
    print("| case | measured | target | fraction | |\n|---|---|---|---|---|")
    for lines in (product_lines, prefill_lines, decode_lines, streamed_lines):
        for case, text, target, share, word in lines(folder):
            print(f"| {case} | {text} | {target} | {'' if share is None else f'{share:.3f}'} | {word} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
