#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decodes and prefills a trace model (trace_model.py) in FreeToken, in one process a strategy.

Prints a JSON line for each size of its expert cache. `fused` keeps all experts on the GPU; `offload`,
`hybrid` and `cpu` serve them from page-locked memory. The model is loaded once; the cache is resized.
"""
import argparse
import importlib.metadata
import json
import os
import statistics
import sys
import time
import traceback

STRATEGIES = ("fused", "offload", "hybrid", "cpu")
EXPECTED_VERSION = "0.1.3"
KV_TOKENS = 8192
# Asked for beyond those that count: with overlapped scheduling a request can end one short.
SPARE_TOKENS = 8


def refuse(why, code=1):
    print(f"bench/peers/freetoken_replay.py: {why}", file=sys.stderr)
    raise SystemExit(code)


def sizes(text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as bad:
        raise argparse.ArgumentTypeError(f"'{text}', expected bytes, separated by commas") from bad


def profile(text):
    threads, _, path = text.partition(":")
    if not threads.isdigit() or not path:
        raise argparse.ArgumentTypeError(f"'{text}', expected THREADS:FILE, threads 0 for its own choice")
    return int(threads), path


def arguments():
    parser = argparse.ArgumentParser(prog="bench/peers/freetoken_replay.py", description=__doc__)
    parser.add_argument("--model", required=True, help="Hugging Face folder of trace_model.py")
    parser.add_argument("--strategy", choices=STRATEGIES, required=True)
    parser.add_argument("--cache-bytes", type=sizes, default=[0], help="of offload and hybrid, largest first")
    parser.add_argument("--warmup", type=int, default=192)
    parser.add_argument("--steps", type=int, default=576)
    parser.add_argument("--prefill", type=int, default=0, help="tokens of a prompt")
    parser.add_argument("--profile", type=profile, action="append", default=[], metavar="THREADS:FILE",
                        help="of its own bandwidth bench; the one whose CPU reads fastest is used, threads and all")
    args = parser.parse_args()
    if args.steps < 1 or args.warmup < 1:
        parser.error(f"--steps and --warmup: found {args.steps} and {args.warmup}, expected at least 1")
    if args.strategy in ("offload", "hybrid") and min(args.cache_bytes) < 1:
        parser.error("--cache-bytes: expected the bytes of the expert cache")
    return args


def geometry(folder):
    """(layers, experts, bytes of an expert, tokens of the vocabulary) by config.json."""
    try:
        with open(f"{folder}/config.json", encoding="utf-8") as file:
            config = json.load(file)
    except OSError as error:
        refuse(f"{folder}: {error}")
    expert_bytes = 3 * 2 * config["hidden_size"] * config["moe_intermediate_size"]
    return config["num_hidden_layers"], config["num_experts"], expert_bytes, config["vocab_size"]


def tune(profiles):
    """The threads of the best profile, which FreeToken is then told of; 0 without one."""
    best_gbps, best_threads = 0, 0
    for threads, path in profiles:
        try:
            with open(path, encoding="utf-8") as file:
                kernel = json.load(file)["dtype_kernels"]["bf16"]
        except (OSError, ValueError, KeyError) as error:
            refuse(f"--profile: {path}: {type(error).__name__}: {error}")
        gbps = kernel.get("cpu_moe_overlap_gbs") or kernel.get("cpu_moe_gbs") or 0
        if gbps > best_gbps:
            best_gbps, best_threads = gbps, threads
            os.environ["FREETOKEN_BENCHBW_PATH"] = os.path.abspath(path)
    return best_threads


def libraries():
    """What this needs of FreeToken, or one line that says what is missing."""
    try:
        import torch
        from freetoken.core import SamplingParams
        from freetoken.llm import LLM
    except ImportError as error:
        refuse(f"{error}: FreeToken {EXPECTED_VERSION} and what it imports are needed", 3)
    if not torch.cuda.is_available():
        refuse("this PyTorch sees no GPU, and FreeToken needs one", 3)
    found = importlib.metadata.version("freetoken")
    if found != EXPECTED_VERSION:
        print(f"note: FreeToken {found}, written for {EXPECTED_VERSION}", file=sys.stderr)

    class Timed(LLM):
        """Notes when each token reaches the caller."""

        def offline_send_result(self, reply):
            now_s = time.perf_counter()
            for message in reply:
                if getattr(message, "next_token", None) is not None:
                    self.arrived.append((now_s, int(message.next_token)))
            super().offline_send_result(reply)

        def ask(self, prompt, tokens):
            """Seconds from the request to each of the first tokens, and these."""
            self.arrived = []
            began_s = time.perf_counter()
            self.generate([prompt], SamplingParams(temperature=0.0, ignore_eos=True,
                                                  max_tokens=tokens + SPARE_TOKENS))
            if len(self.arrived) < tokens:
                raise RuntimeError(f"found {len(self.arrived)} tokens, expected {tokens}")
            first = self.arrived[:tokens]
            return [at - began_s for at, _ in first], [token for _, token in first]

        def prefill_s(self, prompt):
            """Seconds until a request for one token has ended: another token would have its step beside it."""
            began_s = time.perf_counter()
            self.generate([prompt], SamplingParams(temperature=0.0, ignore_eos=True, max_tokens=1))
            return time.perf_counter() - began_s

    return Timed, found


def slots_of(cache_bytes, layers, experts, expert_bytes):
    slots = min(cache_bytes // expert_bytes, layers * experts)
    if slots < 2 * experts:
        refuse(f"--cache-bytes: {cache_bytes} are {slots} slots; FreeToken's prefill needs two layers of "
               f"experts, {2 * experts * expert_bytes} bytes")
    return slots


def open_engine(engine, args, slots, threads):
    options = {"moe_strategy": args.strategy, "max_running_req": 1, "cache_type": "naive", "cuda_graph_max_bs": 1,
               "num_token_override": KV_TOKENS, "moe_prefill_hit_d2d": True}
    if args.strategy in ("offload", "hybrid"):
        options["moe_cache_size"] = slots
    if args.strategy in ("hybrid", "cpu") and threads:
        options["moe_cpu_threads"] = threads
    return engine(args.model, **options)


def measure(llm, args, vocabulary):
    """The measured part of a row."""
    at_s, tokens = llm.ask([0], args.warmup + args.steps)
    took_s = at_s[-1] - at_s[args.warmup - 1]
    off = sum(token != (place + 1) % vocabulary for place, token in enumerate(tokens))
    row = {"warmup": args.warmup, "steps": args.steps, "tokens_per_s": args.steps / took_s, "steps_off_trace": off}
    if args.prefill:
        prompt = [token % vocabulary for token in range(args.prefill)]
        llm.prefill_s(prompt)  # compiles
        seconds = statistics.median(llm.prefill_s(prompt) for _ in range(3))
        row |= {"prefill_tokens": args.prefill, "prefill_tokens_per_s": args.prefill / seconds}
    return row


def main():
    args = arguments()
    layers, experts, expert_bytes, vocabulary = geometry(args.model)
    cached = args.strategy in ("offload", "hybrid")
    slots = [slots_of(size, layers, experts, expert_bytes) for size in args.cache_bytes] if cached else [0]
    threads = tune(args.profile)
    engine, version = libraries()
    llm = open_engine(engine, args, slots[0], threads)
    for count, size in zip(slots, args.cache_bytes):
        if count != slots[0]:
            llm.rebuild_cache(moe_cache_size=count)
        row = {"strategy": args.strategy, "version": version, "cache_bytes": size if cached else None,
               "slots": count if cached else None, "threads": threads or None, **measure(llm, args, vocabulary)}
        print(json.dumps(row), flush=True)
    # Its threads and page-locked memory go with the process: nothing of theirs is waited for.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError) as broken:
        traceback.print_exc()
        refuse(f"{type(broken).__name__}: {broken}")
