# SPDX-License-Identifier: MIT
"""`python -m ufm plan`: what a budget holds and gives, before any weight is read."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..planning import Machine, Point, Routed
from ..planning import plan as plan_routed
from ..planning import probe as probe_machine
from ..sizes import parse_size, size_text
from . import outcome
from .cards import CARDS, machine_of
from .options import add_device, add_dtype, add_parser, fraction, positive, size


def add(parsers: Any) -> None:
    parser = add_parser(
        parsers,
        "plan",
        run,
        "says what fits a budget of device memory, and how fast that is",
        """Reads the configuration alone, no weights: what is taken by the dense weights and the KV cache, what is left
        for experts, and how fast the routed layers are with it, by libufm's planner; attention and the other layers
        take their time beside them. The machine is this one, probed in a second, or --card. Without a GPU and without
        --card the plan is for the CPU, where --vram is for experts alone.""",
    )
    parser.add_argument("directory", metavar="DIR", help="of the checkpoint; config.json suffices; or a GGUF file")
    parser.add_argument("--vram", type=size, required=True, metavar="SIZE", help="all that the process may hold: 8GiB")
    parser.add_argument("--context", type=positive, default=4096, metavar="N", help="tokens of KV cache (4096)")
    parser.add_argument("--batch", type=positive, default=1, metavar="B", help="sequences at once (1)")
    parser.add_argument("--prompt-tokens", type=positive, metavar="N", help="of prefill (512, or --context)")
    add_dtype(parser)
    add_device(parser)
    parser.add_argument("--card", choices=CARDS, metavar="NAME", help="plans for it: " + ", ".join(CARDS))
    for name, what in _RATES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=fraction, metavar="X", help=what)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="what is printed (text)")


_RATES = {
    "link_gbps": "GB/s from host to device",
    "hbm_gbps": "GB/s of device memory",
    "dram_gbps": "GB/s of host memory, read by the CPU",
    "gflops": "billions of operations a second",
}


@dataclass(frozen=True)
class Needs:
    """Bytes of device memory that are no experts'. On the CPU all of them are 0."""

    context_bytes: int
    dense_bytes: int
    cache_bytes: int
    cache_token_bytes: int
    reserve_bytes: int

    @property
    def total(self) -> int:
        return self.context_bytes + self.dense_bytes + self.cache_bytes + self.reserve_bytes


def run(args: argparse.Namespace) -> int:
    if args.card and args.device == "cpu":
        raise outcome.Stop(outcome.USAGE, "--card: expected without --device cpu: a card is a GPU")
    outcome.require("torch", "transformers")
    directory = outcome.checkpoint(args.directory)
    device = "cuda" if args.card else outcome.device(args.device)
    from .weights import measure

    weights = measure(directory, args.dtype)
    _refuse_formats(directory, weights, device)
    needs, vram = _needs(args, weights, device), parse_size(args.vram, "--vram")
    _refuse(weights, needs, vram)
    parts = _routed(weights)
    machine = _machine(args, parts[0], device) if parts else None
    points = _points(args, weights, parts, machine, vram - needs.total)
    _refuse_points(points, needs, vram)
    print(
        _json(args, weights, needs, machine, points)
        if args.output == "json"
        else _text(args, weights, needs, machine, points)
    )
    return outcome.OK


# ---- what is needed


def _refuse_formats(directory: Any, weights: Any, device: str) -> None:
    """Unsupported: experts stored as the device's backend does not read them."""
    if weights.stored:
        import torch

        from ..models.gguf_banks import refuse_on_gpu

        refuse_on_gpu(directory, [desc for desc, _ in weights.stored], torch.device(device))


def _needs(args: argparse.Namespace, weights: Any, device: str) -> Needs:
    from ..models import budget, footprint

    each = footprint.cache_bytes_per_token(weights.config, weights.dtype.itemsize)
    if device == "cpu":
        return Needs(0, 0, 0, each, 0)
    cache = each * args.context * args.batch
    return Needs(budget.CONTEXT_BYTES_MAX, weights.dense_bytes, cache, each, budget.RESERVE_BYTES)


def _refuse(weights: Any, needs: Needs, vram: int) -> None:
    """Ends the command where nothing is left for experts."""
    if vram <= needs.total:
        parts = f"{size_text(needs.dense_bytes)} of dense weights, {size_text(needs.cache_bytes)} of KV cache, "
        parts += (
            f"{size_text(needs.context_bytes)} of the driver's context and {size_text(needs.reserve_bytes)} of reserve"
        )
        beside = " and what the experts need at least" if weights.sites else ""
        raise outcome.Stop(
            outcome.FAILED, f"--vram {size_text(vram)} does not hold {parts}: expected {size_text(needs.total)}{beside}"
        )


def _routed(weights: Any) -> list[Routed]:
    """The routed layers, a geometry each."""
    from ..models.layout import describe
    from ..models.paging import by_geometry, expert_dtype

    stored = weights.stored
    if not stored:
        dtype = expert_dtype(weights.dtype)
        stored = [(describe(geometry, dtype), sites) for geometry, sites in by_geometry(weights.sites)]
    return [
        Routed(desc, len(sites), sites[0].geometry.experts, max(site.top_k for site in sites)) for desc, sites in stored
    ]


def _machine(args: argparse.Namespace, routed: Routed, device: str) -> Machine:
    given = {name: getattr(args, name) for name in _RATES if getattr(args, name) is not None}
    if args.card:
        return replace(machine_of(args.card), **given)
    found = Machine(0, 0, backend=device) if {"link_gbps", "hbm_gbps"} <= set(given) else probe_machine(routed, device)
    found = replace(found, **given)
    # Where the device is the CPU nobody computes beside it.
    return replace(found, dram_gbps=0.0, sum_link_gbps=0.0, sum_cpu_gbps=0.0) if device == "cpu" else found


# ---- what is left for experts


def _points(
    args: argparse.Namespace, weights: Any, parts: list[Routed], machine: Machine | None, left: int
) -> list[tuple[Routed, Point]]:
    """A point for each geometry, which gets its part of the budget by its bytes."""
    from ..models.paging import call_tokens

    total = sum(part.desc.block_bytes * part.layers * part.experts for part in parts)
    found = []
    for part in parts:
        assert machine is not None
        share = left * part.desc.block_bytes * part.layers * part.experts // total
        tokens, _ = call_tokens(part.top_k, part.desc.d_model, part.desc.d_hidden, share)
        prompt = args.prompt_tokens or min(512, args.context)
        given = {"batch": args.batch, "prompt": prompt, "max_tokens": tokens}
        found.append((part, plan_routed(part, machine, [share], **given)[0]))
    return found


def _refuse_points(points: list[tuple[Routed, Point]], needs: Needs, vram: int) -> None:
    """Ends the command where the smallest working set does not fit; libufm says what it needs."""
    small = [point for _, point in points if point.why]
    if not small:
        return
    least = [re.search(r"at least .*\((\d+) bytes\)", point.why) for point in small]
    if len(points) == 1 and least[0]:
        total = needs.total + int(least[0][1])
        why = f"{size_text(needs.total)} are taken by all but the experts, whose" if needs.total else "the experts'"
        why += f" smallest working set needs {size_text(int(least[0][1]))}: expected {size_text(total)} ({total} bytes)"
    else:
        why = small[0].why
    raise outcome.Stop(outcome.FAILED, f"--vram {size_text(vram)} does not fit: {why}")


def _tokens_per_s(points: list[tuple[Routed, Point]], phase: str) -> float | None:
    """Of all routed layers, one after the other."""
    speeds = [getattr(point, phase).tokens_per_s for _, point in points]
    return 1 / sum(1 / speed for speed in speeds) if speeds else None


# ---- what is printed


def _facts(args: argparse.Namespace, weights: Any, needs: Needs, points: list[tuple[Routed, Point]]) -> dict[str, Any]:
    vram = parse_size(args.vram, "--vram")
    return {
        "vram_bytes": vram,
        "context_bytes": needs.context_bytes,
        "dense_bytes": needs.dense_bytes,
        "cache_bytes": needs.cache_bytes,
        "cache_bytes_per_token": needs.cache_token_bytes,
        "reserve_bytes": needs.reserve_bytes,
        "experts_budget_bytes": vram - needs.total if points else 0,
        "expert_bytes": weights.expert_bytes,
        "expert_storage": ", ".join(dict.fromkeys(part.desc.storage for part, _ in points)),
        "experts": weights.experts,
        "slots": sum(min(point.slots, part.layers * part.experts) for part, point in points),
        "workspace_bytes": sum(point.workspace_bytes for _, point in points),
        "host_bytes": sum(point.host_bytes for _, point in points),
        "decode_tok_s": _tokens_per_s(points, "decode"),
        "prefill_tok_s": _tokens_per_s(points, "prefill"),
    }


def _json(
    args: argparse.Namespace, weights: Any, needs: Needs, machine: Machine | None, points: list[tuple[Routed, Point]]
) -> str:
    found = {"directory": args.directory, "dtype": str(weights.dtype).removeprefix("torch."), "card": args.card}
    found |= {"context": args.context, "batch": args.batch} | _facts(args, weights, needs, points)
    found["machine"] = None if machine is None else asdict(machine)
    found["geometries"] = [
        {"layers": part.layers, "experts": part.experts, "top_k": part.top_k} | asdict(point) for part, point in points
    ]
    return json.dumps(found)


def _text(
    args: argparse.Namespace, weights: Any, needs: Needs, machine: Machine | None, points: list[tuple[Routed, Point]]
) -> str:
    facts, dtype = _facts(args, weights, needs, points), str(weights.dtype).removeprefix("torch.")
    rows = [
        (
            "budget",
            facts["vram_bytes"],
            "--vram: all that the process holds" if needs.total else "on the CPU: for experts",
        )
    ]
    if needs.total:
        each = f"{args.batch} × {args.context} tokens of {size_text(needs.cache_token_bytes)}, by the configuration"
        rows += [
            ("context", needs.context_bytes, "of the driver, at most"),
            ("dense weights", needs.dense_bytes, "all that are no experts"),
            ("KV cache", needs.cache_bytes, each),
            ("reserve", needs.reserve_bytes, "of a step, and of what CUDA loads"),
        ]
    if points:
        rows.append(("workspace", facts["workspace_bytes"], "of the routed layers"))
        slots = facts["experts_budget_bytes"] - facts["workspace_bytes"]
        rows.append(("experts", slots, f"about {facts['slots']} slots for {facts['experts']} ({_share(facts)})"))
        rows.append(("host memory", facts["host_bytes"], "every expert lies there, too"))
    sizes = f"{size_text(weights.dense_bytes)} and experts of {size_text(weights.expert_bytes)}"
    lines = [f"{type(weights.model).__name__}, {dtype}: {sizes}{_stored(weights, dtype)}"]
    lines += [f"  {name:<14} {size_text(value):>10}  {text}" for name, value, text in rows]
    if not points:
        return "\n".join([*lines, "nothing is paged: the model has no routed experts"])
    return "\n".join([*lines, *_speeds(args, machine, points)])


def _stored(weights: Any, dtype: str) -> str:
    """How quantised experts are stored."""
    if weights.said:
        return f"\n  config.json says {weights.said}, and no weights are there: planned in {dtype}"
    return ",".join(dict.fromkeys(desc.in_format for desc, _ in weights.stored))


def _share(facts: dict[str, Any]) -> str:
    return f"{facts['slots'] / facts['experts']:.0%}"


def _rates(machine: Machine) -> str:
    if machine.backend == "cpu":
        return f"copies {machine.link_gbps:.3g} GB/s, experts read at {machine.hbm_gbps:.3g} GB/s"
    rates = f"link {machine.link_gbps:.3g}, device memory {machine.hbm_gbps:.4g}"
    if machine.dram_gbps:
        return f"{rates}, host memory {machine.dram_gbps:.3g} GB/s"
    return f"{rates} GB/s; without --dram-gbps no CPU helps"


def _speeds(args: argparse.Namespace, machine: Machine | None, points: list[tuple[Routed, Point]]) -> list[str]:
    assert machine is not None
    name = args.card or ("this machine's GPU" if machine.backend == "cuda" else "this machine's CPU")
    lines = [f"Routed layers on {name}:", f"  {_rates(machine)}"]
    for phase in ("decode", "prefill"):
        first: Any = getattr(points[0][1], phase)
        speed = _tokens_per_s(points, phase)
        how = f"{first.hit_rate:.0%} hits, bound by {first.bound}" + (
            "; the CPU helps" if first.with_cpu and "CPU" not in first.bound else ""
        )
        lines.append(f"  {phase:<14} {speed:>8.1f} tok/s  {how}")
    return [*lines, "Attention and all else that is no routed layer takes its time beside that."]
