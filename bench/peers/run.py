#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the reference case in plain PyTorch and accelerate, beside `ufm bench`, and prints the ratios."""
import argparse
import importlib.util
import json
import os
import sys

import table

MODES = ("torch_resident", "torch_lru", "torch_restream", "accelerate_offload", "torch_naive")
UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def size(text):
    """Bytes of `16GiB`, `0`, `512MiB`; `off` is 0."""
    number = text.rstrip("KMGiB")
    if text == "off":
        return 0
    try:
        return int(float(number) * UNITS[text[len(number):]])
    except (KeyError, ValueError) as bad:
        raise argparse.ArgumentTypeError(f"'{text}', expected a size such as 16GiB") from bad


def counts(text):
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"'{text}', expected numbers of experts")
    return numbers


def names(text):
    chosen = text.split(",")
    for name in chosen:
        if name not in MODES:
            raise argparse.ArgumentTypeError(f"'{name}', expected some of {','.join(MODES)}")
    return chosen


def arguments():
    parser = argparse.ArgumentParser(prog="bench/peers/run.py", description=__doc__)
    parser.add_argument("--modes", type=names, default=list(MODES), help=",".join(MODES))
    parser.add_argument("--experts", type=counts, default=[96, 144, 192])
    parser.add_argument("--d-model", type=int, default=2048)
    parser.add_argument("--d-hidden", type=int, default=8192)
    parser.add_argument("--top-k", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=512, help="of a step")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--steps", type=int, default=10,
                        help="measured; 3 where one takes over 2 s")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vram-target", type=size, default=size("16GiB"), help="of the modes that page")
    parser.add_argument("--headroom", type=size, default=size("1GiB"), help="part of it that is no slot")
    parser.add_argument("--vram-limit", type=size, default=0, help="of the modes that do not (default: off)")
    parser.add_argument("--row-seconds", type=float, default=30,
                        help="no further step is begun that would end after this time; one always is")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", help="folder for runs.jsonl and table.md")
    parser.add_argument("--beside", nargs="*", default=[], help="folders of `ufm bench`, for the ratios")
    parser.add_argument("--self-test", action="store_true", help="only compares each mode with float64, in small")
    return parser.parse_args()


def lacking(args):
    """What this machine has not that the run needs, or an empty string."""
    try:
        import torch
    except ImportError as error:
        return f"{error}: python3 -m pip install torch numpy accelerate"
    if args.device == "cuda" and not torch.cuda.is_available():
        return "this PyTorch sees no GPU: install one built for CUDA, or --device cpu"
    if "accelerate_offload" in args.modes and not importlib.util.find_spec("accelerate"):
        return "accelerate is not installed: python3 -m pip install accelerate, or leave it out of --modes"
    return ""


def measure(args):
    """Rows, each written when it is done."""
    import sweep
    rows = []
    with open(os.path.join(args.out, "runs.jsonl") if args.out else os.devnull, "w", encoding="utf-8") as file:
        for row in sweep.sweep(args):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{row['mode']}, {row['num_experts']} experts: {row['status']}", file=sys.stderr)
    return rows


def main():
    args = arguments()
    beside = table.rows_beside(args.beside, args)
    why = lacking(args)
    if why:
        print(f"bench/peers: {why}", file=sys.stderr)
        return 3
    if args.self_test:
        import sweep
        return sweep.self_test(args)
    if args.out:
        os.makedirs(args.out, exist_ok=True)
    rows = measure(args)
    printed = table.table(rows, beside)
    if args.out:
        with open(os.path.join(args.out, "table.md"), "w", encoding="utf-8") as file:
            file.write(printed)
    print(printed, end="")
    return 1 if any(row["status"] == "error" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
