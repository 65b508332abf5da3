#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decodes the routed layers of a model over a recorded trace in plain PyTorch and with accelerate, batch 1.

Routers are those of trace_model.py, so that each layer's ids come from the device as in a model, and the
next token from a head. Every row has tokens divided by seconds over all measured steps. Rows are JSON lines.
"""
import argparse
import gc
import json
import sys
import time

import bank as banks
import torch
import trace_model
from placements import PLACEMENTS

MODES = ("torch_resident", "torch_lru", "accelerate_offload")


def sizes(text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as bad:
        raise argparse.ArgumentTypeError(f"'{text}', expected bytes, separated by commas") from bad


def arguments():
    parser = argparse.ArgumentParser(prog="bench/peers/decode.py", description=__doc__)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--vram-bytes", type=sizes, default=[0], help="for experts, of the modes that page")
    parser.add_argument("--layers", type=int, default=0, help="of the trace (default: all)")
    parser.add_argument("--tokens", type=int, default=2048, help="of the trace, then it begins again")
    for name, value in (("experts", 128), ("d-model", 2048), ("d-hidden", 768)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--warmup", type=int, default=192)
    parser.add_argument("--steps", type=int, default=576)
    parser.add_argument("--row-seconds", type=float, default=20, help="no step is begun after this; one always is")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.steps < 1 or args.warmup < 0:
        parser.error(f"--steps and --warmup: found {args.steps} and {args.warmup}, expected at least 1 and 0")
    args.heads = args.kv_heads = args.head_dim = 1  # there is no attention
    return args


class Walk:
    """The layers without attention, walked along the trace."""

    def __init__(self, model, geometry, device):
        self.model, self.geometry, self.device = model, geometry, device
        self.dtype = banks.DTYPES[geometry.dtype]
        self.routers = [torch.from_numpy(model.router(layer)).to(device) for layer in range(model.layers)]
        self.embedding = torch.from_numpy(model.embedding()).to(device)
        self.head = torch.from_numpy(model.head()).to(device)
        self.different = 0

    def token(self, token, placement):
        """The next token; counts the layers whose choice was not the trace's."""
        x = self.embedding[token]
        for layer, router in enumerate(self.routers):
            normed = x * torch.rsqrt(x.square().mean() + trace_model.EPSILON)
            gates, ids = torch.softmax(router @ normed, -1).topk(self.model.top_k)
            chosen = ids.tolist()
            self.different += set(chosen) != set(self.model.ids[token, layer].tolist())
            row, numbers = normed.to(self.dtype)[None], [layer * self.model.experts + e for e in chosen]
            placement.begin(numbers)
            outputs = torch.cat([placement.run(number, row) for number in numbers])
            x = x + (gates / gates.sum()) @ outputs.float()
        return int((self.head @ x).argmax())


def measure(args, walk, placement):
    """Steps until there are enough of them or no time is left."""
    token = off = 0
    began = time.perf_counter()
    warmed = 0
    while warmed < args.warmup and (warmed < 2 or time.perf_counter() - began < args.row_seconds):
        token, warmed = walk.token(token, placement), warmed + 1
    placement.clear_counters()
    began, steps = time.perf_counter(), 0
    while steps < args.steps and (steps < 1 or time.perf_counter() - began < args.row_seconds):
        found = walk.token(token, placement)
        off += found != (token + 1) % walk.model.tokens
        token, steps = found, steps + 1
    took_s = time.perf_counter() - began
    uses = placement.resident_uses + placement.streamed_uses
    return {"warmup": warmed, "steps": steps, "tokens_per_s": steps / took_s, "steps_off_trace": off,
            "rows_different": walk.different, "slots": placement.slots, "hit_share": placement.resident_uses / uses}


def row(args, walk, bank, vram_bytes):
    """One row; that it does not fit is a result."""
    found = {"mode": args.mode, "vram_bytes": vram_bytes or None, "page_locked": bank.locked,
             "torch_version": torch.__version__}
    slots = vram_bytes // walk.geometry.block_bytes if vram_bytes else walk.geometry.experts
    walk.different = 0
    try:
        placement = PLACEMENTS[args.mode](walk.geometry, bank, walk.device, slots)
        return found | measure(args, walk, placement) | {"error": None}
    except torch.OutOfMemoryError as error:
        return found | {"tokens_per_s": None, "error": str(error).splitlines()[0]}


def lacking(args):
    if args.device == "cuda" and not torch.cuda.is_available():
        return "this PyTorch sees no GPU: install one built for CUDA, or --device cpu"
    if args.mode == "accelerate_offload":
        try:
            import accelerate  # noqa: F401, pylint: disable=unused-import
        except ImportError as error:
            return f"{error}: python3 -m pip install accelerate"
    return ""


def main():
    args = arguments()
    why = lacking(args)
    if why:
        print(f"bench/peers/decode.py: {why}", file=sys.stderr)
        return 3
    torch.set_grad_enabled(False)
    model = trace_model.Model(trace_model.read_trace(args), args)
    every = model.layers * model.experts
    geometry = banks.Gated(args.d_model, args.d_hidden, every, model.top_k, 1, args.dtype)
    bank = banks.Bank(geometry, every, args.seed)
    walk = Walk(model, geometry, torch.device(args.device))
    if args.device == "cuda" and PLACEMENTS[args.mode].locked and args.mode != "torch_resident":
        bank.lock()
    for vram_bytes in args.vram_bytes:
        print(json.dumps(row(args, walk, bank, vram_bytes)), flush=True)
        gc.collect()
        if args.device == "cuda":
            torch.cuda.empty_cache()
    bank.unlock()
    return 0


if __name__ == "__main__":
    sys.exit(main())
