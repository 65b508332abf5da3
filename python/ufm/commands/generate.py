# SPDX-License-Identifier: MIT
"""`python -m ufm generate`: text from a checkpoint, as it comes, and then what it took."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..models.gguf_file import is_gguf
from ..sizes import size_text
from . import outcome
from .options import add_device, add_dtype, add_parser, fraction, positive, share, size

# Of `ufm.Stats`, for json.
_PATHS = ("uses", "hits", "hit_rate", "resident_bytes", "link_bytes", "cpu_bytes", "wait_ns", "link_gbps")
_PLACES = ("slots", "experts", "resident_share", "slab_bytes", "workspace_bytes")


def add(parsers: Any) -> None:
    parser = add_parser(
        parsers,
        "generate",
        run,
        "generates text from a checkpoint, its experts paged",
        """Text goes to the standard output as it comes; what it took goes to the standard error.""",
    )
    parser.add_argument("directory", metavar="DIR", help="of the checkpoint, with its tokenizer; or a GGUF file")
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="what to continue; - reads standard input")
    parser.add_argument("--max-new-tokens", type=positive, default=256, metavar="N", help="at most (256)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--vram", type=size, metavar="SIZE", help="all that the process may hold on the GPU: 8GiB")
    budget.add_argument("--experts", type=share, metavar="SIZE", help="for experts alone: 6GiB, or 30%% of them")
    add_device(parser)
    add_dtype(parser)
    parser.add_argument(
        "--cpu-assist",
        choices=("auto", "on", "off"),
        default="auto",
        help="the CPU computes experts (auto: where it pays)",
    )
    parser.add_argument("--deterministic", action="store_true", help="the same bits each time")
    parser.add_argument("--sample", action="store_true", help="draws tokens; default: the likeliest")
    parser.add_argument("--temperature", type=fraction, metavar="X", help="of --sample (default: the checkpoint's)")
    parser.add_argument("--seed", type=int, metavar="N", help="of --sample")
    parser.add_argument("--chat", action="store_true", help="the prompt is a user's turn, by the chat template")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="json: one object at the end")


def run(args: argparse.Namespace) -> int:
    if not args.sample and (args.temperature is not None or args.seed is not None):
        raise outcome.Stop(outcome.USAGE, "--temperature and --seed: expected --sample with them")
    outcome.require("torch", "transformers")
    directory = outcome.checkpoint(args.directory)
    device = outcome.device(args.device)
    quiet_bars()
    prompt = _prompt(args.prompt)
    tokenizer = _tokenizer(directory)
    inputs = _inputs(tokenizer, prompt, args.chat)
    try:
        model, load_s = _load(args, directory, device)
    except KeyboardInterrupt:
        raise outcome.Stop(outcome.INTERRUPTED, "interrupted while loading: nothing was generated") from None
    watch = _generate(args, model, tokenizer, inputs)
    _report(args, directory, model, tokenizer, inputs, watch, load_s)
    return outcome.INTERRUPTED if watch.interrupted else outcome.OK


def quiet_bars() -> None:
    """No progress bars where nobody watches."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()


def _prompt(given: str) -> str:
    text = sys.stdin.read() if given == "-" else given
    if not text.strip():
        raise outcome.Stop(outcome.USAGE, "--prompt: it is empty")
    return text


def _tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    from ..models.gguf_transformers import tokenizer_of as gguf_tokenizer

    with reading(directory):
        if is_gguf(directory):
            return gguf_tokenizer(directory)
        return AutoTokenizer.from_pretrained(directory, trust_remote_code=False)


def _inputs(tokenizer: Any, prompt: str, chat: bool) -> Any:
    if not chat:
        return tokenizer(prompt, return_tensors="pt")
    if tokenizer.chat_template is None:
        raise outcome.Stop(outcome.DATA, "--chat: the tokenizer has no chat template")
    turn = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt", return_dict=True)


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """What Transformers says of a checkpoint that it cannot read, in one line and with its exit code."""
    from ..errors import UfmError

    try:
        yield
    except (UfmError, outcome.Stop):
        raise
    except (OSError, ValueError, KeyError, RuntimeError, outcome.safetensors_error()) as error:
        if outcome.is_out_of_memory(error):
            raise
        raise outcome.Stop(outcome.DATA, f"{directory}: {outcome.describe(error)}") from None


def _load(args: argparse.Namespace, directory: Path, device: str) -> tuple[Any, float]:
    from ..models.loading import from_pretrained
    from .weights import torch_dtype

    begin_s = time.perf_counter()
    with reading(directory):
        model = from_pretrained(
            directory,
            vram=args.vram,
            experts=args.experts,
            dtype=torch_dtype(args.dtype),
            cpu_assist=args.cpu_assist,
            deterministic=args.deterministic,
            device=device,
        )
    if not hasattr(model, "generate") or not model.can_generate():
        raise outcome.Stop(outcome.DATA, f"{directory}: a {type(model).__name__} generates no text")
    return model.eval(), time.perf_counter() - begin_s


class _Watch:
    """A streamer that notes when tokens came, and hands them on."""

    def __init__(self, onward: Any) -> None:
        self.onward = onward
        self.begin_s = time.perf_counter()
        self.came_s: list[float] = []
        self.tokens: list[int] = []
        self.readings: list[Any] = []
        self.interrupted = False
        self._prompt = True

    def put(self, value: Any) -> None:
        if self._prompt:
            self._prompt = False
        else:
            self.came_s.append(time.perf_counter())
            self.tokens += value.flatten().tolist()
        if self.onward is not None:
            self.onward.put(value)

    def end(self) -> None:
        if self.onward is not None:
            self.onward.end()

    def prefill_s(self) -> float | None:
        return self.came_s[0] - self.begin_s if self.came_s else None

    def decode_tok_s(self) -> float | None:
        if len(self.came_s) < 2:
            return None
        return (len(self.came_s) - 1) / (self.came_s[-1] - self.came_s[0])


def _generate(args: argparse.Namespace, model: Any, tokenizer: Any, inputs: Any) -> _Watch:
    """All tokens, or those that came before Ctrl-C."""
    import torch
    from transformers import TextStreamer

    from ..models.stats import stats

    if args.seed is not None:
        torch.manual_seed(args.seed)
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True) if args.output == "text" else None
    given: dict[str, Any] = {"do_sample": args.sample, "max_new_tokens": args.max_new_tokens}
    if args.temperature is not None:
        given["temperature"] = args.temperature
    if model.generation_config.pad_token_id is None:
        given["pad_token_id"] = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    first = stats(model)
    watch = _Watch(streamer)
    try:
        model.generate(**inputs.to(model.device), streamer=watch, **given)
    except KeyboardInterrupt:
        watch.interrupted = True
        watch.end()
    watch.readings = [first, stats(model)]
    return watch


def _report(
    args: argparse.Namespace, directory: Path, model: Any, tokenizer: Any, inputs: Any, watch: _Watch, load_s: float
) -> None:
    from .weights import files

    cost = watch.readings[1] - watch.readings[0]
    load_bytes, prompt_tokens = sum(path.stat().st_size for path in files(directory)), inputs["input_ids"].shape[1]
    prefill_s = watch.prefill_s()
    found: dict[str, Any] = {
        "text": tokenizer.decode(watch.tokens, skip_special_tokens=True),
        "tokens": len(watch.tokens),
        "interrupted": watch.interrupted,
        "load_s": load_s,
        "load_bytes": load_bytes,
        "load_gbps": load_bytes / load_s / 1e9,
        "prompt_tokens": prompt_tokens,
        "prefill_tok_s": prompt_tokens / prefill_s if prefill_s else None,
        "decode_tok_s": watch.decode_tok_s(),
    }
    if cost.geometries:
        found |= {name: getattr(cost, name) for name in _PATHS + _PLACES}
    if args.output == "json":
        print(json.dumps(found | {"versions": outcome.versions()}))
    if watch.interrupted:
        _note(f"interrupted after {len(watch.tokens)} tokens")
    if args.output == "text":
        for line in _lines(found, cost, model):
            _note(line)


def _lines(found: dict[str, Any], cost: Any, model: Any) -> Iterator[str]:
    yield f"loaded {size_text(found['load_bytes'])} in {found['load_s']:.2f} s ({found['load_gbps']:.3g} GB/s)"
    if found["prefill_tok_s"]:
        yield f"prefill: {found['prompt_tokens']} tokens at {found['prefill_tok_s']:.1f} tok/s"
    if found["decode_tok_s"]:
        yield f"decode: {found['tokens']} tokens at {found['decode_tok_s']:.1f} tok/s"
    # The first line of stats counts tokens once more.
    yield from (
        cost.lines() if not cost.geometries else [f"{cost.uses} uses, {cost.hit_rate or 0:.1%} hits", *cost.lines()[1:]]
    )


def _note(text: str) -> None:
    print(f"ufm: {text}", file=sys.stderr, flush=True)
