# SPDX-License-Identifier: MIT
"""Measures modes with numbers of experts: one row each, with the field names of `ufm bench`."""
import gc
import importlib.metadata
import statistics
import time

import torch

import bank as banks
from placements import PLACEMENTS

# As in the tests of ufm itself; products of bf16 activations round more than f32 ones do.
ERROR_MAX = {"f32": 1e-5, "bf16": 3e-2}
SLOW_STEP_MS, SLOW_STEPS = 2000, 3


class Run:
    """One mode with one number of experts: its row."""

    def __init__(self, args, bank, geometry, mode):
        self.args, self.bank, self.geometry, self.mode = args, bank, geometry, mode
        self.device = torch.device(args.device)
        self.kind = PLACEMENTS[mode]
        self.limit = args.vram_target if self.kind.budget == "target" else args.vram_limit
        self.step_ms, self.touched = [], []
        self.row = self.plan()

    def plan(self):
        args, geometry = self.args, self.geometry
        accelerate = self.mode == "accelerate_offload"
        return {
            "mode": self.mode, "num_experts": geometry.experts, "layers": 1, "status": "ok", "error": None,
            "bank_bytes": geometry.experts * geometry.expert_bytes, "expert_bytes": geometry.expert_bytes,
            "vram_target_bytes": args.vram_target, "headroom_bytes": args.headroom,
            "vram_limit_bytes": args.vram_limit or None, "memory_cap_bytes": self.limit or None,
            "peer": "accelerate" if accelerate else "torch", "peer_version": version(self.mode),
            "torch_version": torch.__version__, "page_locked": self.kind.locked and args.device == "cuda",
            "dtype": geometry.dtype, "math": "tf32" if torch.backends.cuda.matmul.allow_tf32 else "fp32",
            "backend": f"torch-{args.device}", "device": device_name(self.device), "seed": args.seed,
            "workload": "uniform", "kind": "mlp-bias", "d_model": geometry.d_model,
            "d_hidden": geometry.d_hidden, "top_k": geometry.top_k, "max_tokens": geometry.tokens,
            "warmup": args.warmup, "tokens_per_s": None, "tokens_per_s_median": None, "step_ms": [],
            "step_ms_median": None,
        }

    def measure(self):
        try:
            self.cap()
            self.work()
        except torch.OutOfMemoryError as error:
            self.row |= {"status": "oom", "error": str(error).splitlines()[0]}
        except (RuntimeError, ValueError) as error:
            self.row |= {"status": "error", "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        return self.row

    def cap(self):
        if self.device.type != "cuda":
            return
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, self.limit / total) if self.limit else 1.0)
        torch.cuda.reset_peak_memory_stats()

    def work(self):
        args, geometry = self.args, self.geometry
        slots_max = max(0, args.vram_target - args.headroom) // geometry.block_bytes
        placement = self.kind(geometry, self.bank, self.device, slots_max)
        layer = banks.Layer(geometry, self.device, args.seed)
        for step in range(args.warmup):
            self.warm(layer, placement, step)
        placement.clear_counters()
        began, step = time.monotonic(), args.warmup
        while len(self.step_ms) < self.steps_wanted() and not self.late(began):
            x, y = self.step(layer, placement, step)
            step += 1
        self.finish(placement, layer.error(x, y, self.bank))

    def warm(self, layer, placement, step):
        """The whole step; of what keeps nothing from step to step a few tokens load the libraries."""
        tokens = layer.tokens(self.args.seed, step)
        few = self.mode == "torch_naive"
        layer.forward(tokens[:4] if few else tokens, placement)
        self.row["warmup_tokens"] = 4 if few else len(tokens)

    def steps_wanted(self):
        slow = self.step_ms and self.step_ms[0] > SLOW_STEP_MS
        return min(self.args.steps, SLOW_STEPS) if slow else self.args.steps

    def late(self, began):
        spent = time.monotonic() - began
        return bool(self.step_ms) and spent + self.step_ms[-1] / 1e3 > self.args.row_seconds

    def step(self, layer, placement, step):
        x = layer.tokens(self.args.seed, step)
        synchronize(self.device)
        began = time.perf_counter()
        y, used = layer.forward(x, placement)
        synchronize(self.device)
        self.step_ms.append((time.perf_counter() - began) * 1e3)
        self.touched.append(used)
        return x, y

    def finish(self, placement, error):
        geometry, cuda = self.geometry, self.device.type == "cuda"
        median = statistics.median(self.step_ms)
        streamed = placement.streamed_uses
        self.row |= {
            "tokens_per_s": geometry.tokens / statistics.mean(self.step_ms) * 1e3,
            "tokens_per_s_median": geometry.tokens / median * 1e3, "step_ms": self.step_ms, "step_ms_median": median,
            "steps": len(self.step_ms), "slots": placement.slots,
            "experts_touched": statistics.mean(self.touched), "uses": sum(self.touched),
            "resident_uses": placement.resident_uses, "streamed_uses": streamed,
            "h2d_weight_bytes": streamed * geometry.expert_bytes,
            "d2h_weight_bytes": placement.written_back * geometry.expert_bytes,
            "peak_vram_bytes": torch.cuda.max_memory_allocated() if cuda else None,
            "reserved_vram_bytes": torch.cuda.max_memory_reserved() if cuda else None,
            "max_error": error,
        }
        if not error <= ERROR_MAX[geometry.dtype]:
            self.row |= {"status": "error", "error": f"max|y - ref| / max|ref| is {error:.3g}"}


def version(mode):
    return importlib.metadata.version("accelerate") if mode == "accelerate_offload" else torch.__version__


def device_name(device):
    return torch.cuda.get_device_name(0) if device.type == "cuda" else "host"


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def geometry_of(args, experts):
    top_k = min(args.top_k, experts)
    return banks.Geometry(args.d_model, args.d_hidden, experts, top_k, args.tokens, args.dtype)


def sweep(args):
    """Rows, page-locked modes first: registered memory would make the others' copies faster than they are."""
    torch.set_grad_enabled(False)
    bank = banks.Bank(geometry_of(args, max(args.experts)), max(args.experts), args.seed)
    for locked in (True, False):
        modes = [mode for mode in PLACEMENTS if mode in args.modes and PLACEMENTS[mode].locked == locked]
        lock = locked and modes and args.device == "cuda"
        if lock:
            bank.lock()
        for mode in modes:
            for experts in args.experts:
                yield Run(args, bank, geometry_of(args, experts), mode).measure()
                gc.collect()
                if args.device == "cuda":
                    torch.cuda.empty_cache()
        if lock:
            bank.unlock()


def self_test(args):
    """Every mode in small, with fewer slots than experts and a number of them that is no multiple of the ring."""
    args.d_model, args.d_hidden, args.tokens, args.top_k = 64, 96, 33, 2
    args.experts, args.steps, args.warmup, args.headroom = [1, 2, 7], 2, 1, 2**26
    broken = False
    for args.dtype in banks.DTYPES:
        args.vram_target = args.headroom + 3 * geometry_of(args, 7).block_bytes
        for row in sweep(args):
            broken |= row["status"] != "ok"
            error = row["error"] or format(row["max_error"], ".1e")
            print(f"{row['mode']}, {row['dtype']}, {row['num_experts']} experts: {error}")
    return 1 if broken else 0
