# SPDX-License-Identifier: MIT
"""One way of `bench`, in a process of its own: reads a job (JSON) from the standard input, and writes its row (JSON)
to the file that the job names."""

from __future__ import annotations

import json
import statistics
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import machine, outcome

_Figures = dict[str, Any]


def main() -> int:
    job = json.loads(sys.stdin.read())
    row: _Figures = {"status": "ok"}
    try:
        _run(job, row)
    except BaseException as error:
        row |= _ended(error)
        if row["status"] == "failed":
            traceback.print_exc()
    row |= {"host_peak_bytes": machine.status_bytes("VmHWM"), "read_bytes": machine.read_bytes()}
    Path(job["row"]).write_text(json.dumps(row), encoding="utf-8")
    return 0


def _ended(error: BaseException) -> _Figures:
    if outcome.is_out_of_memory(error):
        return {"status": "out of memory", "why": outcome.describe(error)}
    return {"status": "failed", "why": outcome.describe(error), "exit_code": outcome.code_of(error)}


def _run(job: _Figures, row: _Figures) -> None:
    import torch

    row |= {"versions": outcome.versions(), "machine": machine.describe(job["device"])}
    row["device_used_before_bytes"] = machine.device_used_bytes()
    model = _load(job, row)
    phases: dict[str, Callable[..., _Figures]] = {"prefill": _prefill, "generate": _decode}
    for name, phase in phases.items():
        try:
            row[name] = phase(model, job)
        except Exception as error:
            if not outcome.is_out_of_memory(error):
                raise
            row[name] = {"status": "out of memory", "why": outcome.describe(error)}
    row |= _placed(model)
    row["device_used_bytes"] = machine.device_used_bytes()
    if job["device"] == "cuda":
        row["torch_peak_bytes"] = torch.cuda.max_memory_reserved()


def _load(job: _Figures, row: _Figures) -> Any:
    from . import decoding, ways, weights

    files = weights.files(Path(job["directory"]))
    if job["cold"]:
        machine.forget(files)
    before, begin_s = machine.read_bytes(), time.perf_counter()
    model = ways.load(job)
    decoding.wait()
    row["load_s"] = time.perf_counter() - begin_s
    row["load_bytes"] = sum(path.stat().st_size for path in files) if job["mode"] != "stub" else None
    row["load_gbps"] = row["load_bytes"] / row["load_s"] / 1e9 if row["load_bytes"] else None
    after = machine.read_bytes()
    row["load_read_bytes"] = None if before is None or after is None else after - before
    row["load_host_peak_bytes"] = machine.status_bytes("VmHWM")
    row["cold"] = job["cold"]
    return model


def _placed(model: Any) -> _Figures:
    """Where the experts are."""
    from ..models.paging import paging_of

    paging = paging_of(model)
    if paging is None:
        return {"experts_implementation": getattr(model.config, "_experts_implementation", None)}
    infos = [engine.info() for engine in paging.engines]
    experts = [group.bank.info for group in paging.groups]
    return {
        "slots": sum(info.slots for info in infos),
        "expert_count": sum(each.layers * each.experts for each in experts),
        "slab_bytes": sum(info.slab_bytes for info in infos),
        "workspace_bytes": sum(info.workspace_bytes for info in infos),
        "arena_bytes": sum(info.arena_bytes for info in infos),
        "block_bytes": [info.block_bytes for info in infos],
        "max_tokens": [info.max_tokens for info in infos],
        "math": [info.math.name for info in infos],
        "cpu_path": [info.cpu_assist for info in infos],
        "policy": [info.policy for info in infos],
    }


def _prefill(model: Any, job: _Figures) -> _Figures:
    from ..models.stats import stats
    from . import decoding

    prompt = decoding.prompt_of(model, job["prompt_tokens"])
    decoding.prefill(model, prompt)
    before, opened_s = stats(model), time.perf_counter()
    each_s: list[float] = []
    while len(each_s) < job["repeats"] and (not each_s or time.perf_counter() - opened_s < job["limit_s"] / 2):
        each_s.append(decoding.prefill(model, prompt))
    found: _Figures = {"tokens": job["prompt_tokens"], "seconds": each_s}
    found["tok_s"] = job["prompt_tokens"] / statistics.median(each_s)
    return found | _paths(stats(model) - before, len(each_s) * job["prompt_tokens"])


def _decode(model: Any, job: _Figures) -> _Figures:
    """The first pass of a process is not timed: on some machines it takes twice as long as all that follow."""
    from ..models.stats import stats
    from . import decoding

    prompt = decoding.prompt_of(model, job["decode_prompt_tokens"])
    first = decoding.by_generate(model, prompt, _clock(job, lambda: None))
    opened_s = time.perf_counter()
    passes: list[Any] = []
    before: list[Any] = []
    after: list[Any] = []
    while len(passes) < job["decode_repeats"] and (not passes or time.perf_counter() - opened_s < job["limit_s"] / 2):
        clock = _clock(job, lambda: before.append(stats(model)))
        passes.append(decoding.by_generate(model, prompt, clock))
        after.append(stats(model))
    last = passes[-1]
    found: _Figures = {
        "tok_s": statistics.median(one.tok_s for one in passes),
        "each_tok_s": [one.tok_s for one in passes],
        "first_pass_tok_s": first.tok_s,
        "warmup": last.warmup,
        "steps": last.steps,
        "prompt_tokens": job["decode_prompt_tokens"],
        "first_tokens": last.tokens[:8],
        "tokens_crc32": zlib.crc32(json.dumps(last.tokens[: last.warmup + last.steps]).encode()),
        "implementation": getattr(model.config, "_experts_implementation", None),
    }
    return found | _paths(after[-1] - before[-1], last.steps)


def _clock(job: _Figures, started: Callable[[], None]) -> Any:
    from . import decoding

    return decoding.Clock(job["warmup"], job["steps"], job["limit_s"], started)


def _paths(cost: Any, tokens: int) -> _Figures:
    """What a token cost on average; nothing for a model that is not paged."""
    if not cost.geometries:
        return {}
    return {
        "hit_rate": cost.hit_rate,
        "uses_per_token": cost.uses / tokens,
        "resident_bytes_per_token": cost.resident_bytes / tokens,
        "link_bytes_per_token": cost.link_bytes / tokens,
        "cpu_bytes_per_token": cost.cpu_bytes / tokens,
        "counters": cost.counters,
    }


if __name__ == "__main__":
    sys.exit(main())
