#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times the routed block of Transformers' Qwen3-MoE, all experts resident: microseconds a layer.

One JSON line for each implementation and number of tokens: the median of the runs, each ended by a wait for
the device, several layers of weights in turn so that none is found in a cache. The norm and the residual are
not in the block.
"""
import argparse
import json
import statistics
import sys
import time

IMPLEMENTATIONS = ("grouped_mm", "batched_mm", "eager")


def numbers(text):
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as bad:
        raise argparse.ArgumentTypeError(f"'{text}', expected numbers separated by commas") from bad
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"'{text}', expected numbers from 1")
    return found


def names(text):
    for name in text.split(","):
        if name not in IMPLEMENTATIONS:
            raise argparse.ArgumentTypeError(f"'{name}', expected some of {','.join(IMPLEMENTATIONS)}")
    return text.split(",")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/peers/blocks.py", description=__doc__)
    parser.add_argument("--implementations", type=names, default=["grouped_mm", "batched_mm"])
    parser.add_argument("--tokens", type=numbers, default=[1, 512, 2048, 8192])
    for name, value in (("experts", 128), ("top-k", 8), ("d-model", 2048), ("d-hidden", 768), ("layers", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--row-seconds", type=float, default=10, help="no run is begun after this; two always are")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def blocks(args, torch, qwen3):
    """Layers with random weights, in bf16."""
    config = qwen3.Qwen3MoeConfig(
        hidden_size=args.d_model, moe_intermediate_size=args.d_hidden, num_experts=args.experts,
        num_experts_per_tok=args.top_k, norm_topk_prob=True, hidden_act="silu", num_hidden_layers=args.layers)
    made = []
    for _ in range(args.layers):
        with torch.device(args.device):
            block = qwen3.Qwen3MoeSparseMoeBlock(config).to(torch.bfloat16)
        for weight in block.parameters():
            weight.data.normal_(0, args.d_model ** -0.5)
        made.append(block.eval())
    return config, made


def time_us(torch, args, layers, x):
    """Median over runs of one pass through all layers, by the layer."""
    def once():
        for block in layers:
            block(x)
        if args.device == "cuda":
            torch.cuda.synchronize()

    once()
    once()
    taken, began = [], time.perf_counter()
    while len(taken) < args.runs and (len(taken) < 2 or time.perf_counter() - began < args.row_seconds):
        at = time.perf_counter()
        once()
        taken.append((time.perf_counter() - at) * 1e6 / len(layers))
    return statistics.median(taken), len(taken)


def main():
    args = arguments()
    try:
        import torch
        import transformers
        from transformers.models.qwen3_moe import modeling_qwen3_moe as qwen3
    except ImportError as error:
        print(f"bench/peers/blocks.py: {error}: python3 -m pip install torch transformers", file=sys.stderr)
        return 3
    if args.device == "cuda" and not torch.cuda.is_available():
        print("bench/peers/blocks.py: this PyTorch sees no GPU: --device cpu", file=sys.stderr)
        return 3
    torch.set_grad_enabled(False)
    torch.manual_seed(args.seed)
    config, layers = blocks(args, torch, qwen3)
    for name in args.implementations:
        config._experts_implementation = name  # pylint: disable=protected-access
        for tokens in args.tokens:
            x = torch.randn(1, tokens, args.d_model, device=args.device, dtype=torch.bfloat16)
            row = {"implementation": name, "tokens": tokens, "layers": args.layers, "dtype": "bf16",
                   "transformers_version": transformers.__version__, "torch_version": torch.__version__,
                   "us": None, "runs": 0, "error": None}
            try:
                row["us"], row["runs"] = time_us(torch, args, layers, x)
            except (torch.OutOfMemoryError, RuntimeError, NotImplementedError) as error:
                row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
