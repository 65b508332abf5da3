# SPDX-License-Identifier: MIT
"""`python -m ufm bench`: one checkpoint, several ways to run it, each in a process of its own, in one table."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..models.gguf_file import is_gguf
from . import outcome
from .options import add_device, add_dtype, add_parser, positive, share, texts
from .placing import has_accelerate
from .table import table

_MODES = ("ufm", "resident", "accelerate", "stub")
_IMPLEMENTATIONS = ("grouped_mm", "batched_mm", "eager")

_COUNTS = (
    ("warmup", 192, "tokens decoded before those timed"),
    ("steps", 256, "tokens decoded and timed"),
    ("prompt-tokens", 2048, "of prefill"),
    ("decode-prompt-tokens", 1, "before the decoded ones"),
    ("repeats", 3, "prefills timed, after one that is not"),
    ("decode-repeats", 3, "decodes timed, each after its warm-up"),
    ("limit", 120, "seconds a phase may go on; then fewer tokens"),
    ("timeout", 1800, "seconds a way may take"),
)


def add(parsers: Any) -> None:
    parser = add_parser(
        parsers,
        "bench",
        run,
        "runs a checkpoint in several ways and says how fast each is",
        """Every way runs in a process of its own: prefill of --prompt-tokens (tokens 0, 1, 2 …) in one pass, then
        greedy decode of one sequence by generate. Out of memory is a result.
        Ways: ufm, at each budget of --experts; resident: Transformers with all on the device, by each of
        --implementations; accelerate: its offload with as many bytes for weights as ufm has for each budget;
        stub: the model without its experts, which is what the rest costs.""",
    )
    parser.add_argument("directory", metavar="DIR", help="of the checkpoint")
    parser.add_argument("--modes", type=texts(_MODES), default=list(_MODES), metavar="A,B", help="ways (default: all)")
    parser.add_argument(
        "--experts", type=shares, default=["30%"], metavar="SIZE,…", help="budgets for experts: 8GiB or 30%% (default)"
    )
    parser.add_argument(
        "--implementations",
        type=texts(_IMPLEMENTATIONS),
        default=["grouped_mm", "batched_mm"],
        metavar="A,B",
        help="of resident experts: grouped_mm, batched_mm (default: both), eager",
    )
    for name, default, text in _COUNTS:
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=f"{text} ({default})")
    add_device(parser)
    add_dtype(parser)
    parser.add_argument("--cpu-assist", choices=("auto", "on", "off"), default="auto", help="of ufm")
    parser.add_argument("--deterministic", action="store_true", help="ufm keeps the CPU out of the sums")
    parser.add_argument("--cold", action="store_true", help="drops the checkpoint from the page cache before each load")
    parser.add_argument("--out", metavar="DIR", help="gets rows.jsonl, table.md and a log of each way")
    parser.add_argument("-o", "--output", choices=("md", "jsonl"), default="md", help="what is printed (md)")


def shares(given: str) -> list[str]:
    return [share(one) for one in given.split(",")]


def jobs(args: argparse.Namespace, device: str) -> list[dict[str, Any]]:
    """What is to be run, in order."""
    common = {
        name: getattr(args, name)
        for name in ("directory", "warmup", "steps", "prompt_tokens", "decode_prompt_tokens", "repeats")
    }
    common |= {"decode_repeats": args.decode_repeats, "limit_s": args.limit, "dtype": args.dtype, "device": device}
    common |= {"cpu_assist": args.cpu_assist, "deterministic": args.deterministic, "cold": args.cold}
    found: list[dict[str, Any]] = []
    for mode in args.modes:
        budgets = args.experts if mode in ("ufm", "accelerate") else [None]
        kinds = _kinds(mode, args.implementations)
        found += [common | {"mode": mode, "experts": b, "implementation": k} for b in budgets for k in kinds]
    return found


def _kinds(mode: str, named: list[str]) -> list[str | None]:
    """The implementations that a way runs: accelerate has the stock experts, by the first that was named."""
    found: dict[str, list[str | None]] = {"resident": [*named], "accelerate": [*named[:1]]}
    return found.get(mode, [None])


def name_of(job: dict[str, Any]) -> str:
    """ "ufm 8GiB", "resident grouped_mm"."""
    return " ".join(str(job[key]) for key in ("mode", "experts", "implementation") if job[key])


def run(args: argparse.Namespace) -> int:
    outcome.require("torch", "transformers")
    if is_gguf(outcome.checkpoint(args.directory)):
        why = "GGUF, which not all ways can run: expected a folder with config.json and .safetensors files"
        raise outcome.Stop(outcome.DATA, f"{args.directory}: {why}")
    todo = jobs(args, outcome.device(args.device))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ufm-bench-") as scratch:
        out = Path(args.out or scratch)
        out.mkdir(parents=True, exist_ok=True)
        (out / "rows.jsonl").write_text("", encoding="utf-8")
        try:
            for job in todo:
                _note(f"{name_of(job)} …")
                rows.append(left_out(job) or _way(job, out, args.timeout))
                _keep(rows[-1], out, args.output)
        finally:
            (out / "table.md").write_text(table(rows), encoding="utf-8")
            if args.output == "md" and rows:
                print(table(rows), end="", flush=True)
            if len(rows) < len(todo):
                _note(f"{len(rows)} of {len(todo)} ways were run")
    failed = [row for row in rows if row["status"] == "failed"]
    return max((row.get("exit_code", outcome.FAILED) for row in failed), default=outcome.OK)


def _note(text: str) -> None:
    print(f"ufm: {text}", file=sys.stderr, flush=True)


def _keep(row: dict[str, Any], out: Path, output: str) -> None:
    line = json.dumps(row)
    with open(out / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")
    if output == "jsonl":
        print(line, flush=True)
    if row["status"] != "ok":
        _note(f"{name_of(row)}: {row['status']}: {row['why']}")


def left_out(job: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a way that cannot be gone here; None where it can."""
    why = None
    if job["mode"] == "accelerate" and job["device"] != "cuda":
        why = "accelerate offloads from a GPU to host memory: no GPU is used here"
    elif job["mode"] == "accelerate" and not has_accelerate():
        why = "accelerate is not installed"
    return job | {"status": "left out", "why": why} if why else None


def _way(job: dict[str, Any], out: Path, timeout_s: float) -> dict[str, Any]:
    """The row of one way; that of a process that dies says how."""
    log, result = out / (name_of(job).replace(" ", "-").replace("%", "pc") + ".log"), out / ".row.json"
    result.unlink(missing_ok=True)
    begin_s = time.monotonic()
    with open(log, "w", encoding="utf-8") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "ufm.commands.measure"],
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=told,
            env=os.environ | {"PYTHONPATH": _python_path()},
            text=True,
        )
        why = _ends(process, json.dumps(job | {"row": str(result)}), timeout_s)
    found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {"status": "failed", "why": why}
    result.unlink(missing_ok=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return job | found | {"wall_s": round(time.monotonic() - begin_s, 3), "when": when}


def _ends(process: subprocess.Popen[str], job: str, timeout_s: float) -> str:
    """Waits for the end of a way, and says how it ended where it brought no row. It does not outlive this process."""
    try:
        process.communicate(job, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"took more than --timeout {timeout_s:g} s"
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode < 0:
        killed = signal.Signals(-process.returncode).name
        return f"ended by {killed}" + (", as the kernel does where host memory ends" if killed == "SIGKILL" else "")
    return f"ended with {process.returncode} and no result"


def _python_path() -> str:
    """So that the process finds this very package."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
