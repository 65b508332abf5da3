# SPDX-License-Identifier: MIT
"""from_pretrained and attach: a Transformers model whose experts are paged."""

from __future__ import annotations

import os
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from ..errors import FileError, Unsupported
from .gguf_file import is_gguf
from .gguf_loading import load_gguf
from .quantised import method_of, quantisation_of
from .quantizer import Config


def from_pretrained(
    directory: str | os.PathLike[str],
    vram: int | str | None = None,
    experts: int | str | None = None,
    host: int | str | None = None,
    dtype: Any = None,
    cpu_assist: str = "auto",
    deterministic: bool = False,
    **kw: Any,
) -> Any:
    """A Transformers model from a checkpoint, its experts paged by UFM. `generate()` and all else work as always.

    Args:
        directory: of the checkpoint: config.json and .safetensors files, or a name on the Hub. Or a GGUF file, one of
            those that a model was split into, or a folder with one model in GGUF files and no others.
        vram: all that the process may hold on the GPU: "8GiB" or bytes. Default: all that is free. Without a GPU: as
            `experts`.
        experts: slots and workspace for experts alone, in place of `vram`: "6GiB", bytes, or "30%" of the experts.
        host: kept for a budget of host memory.
        dtype: of the model; default: the checkpoint's, and of GGUF files PyTorch's default.
        cpu_assist: whether the CPU computes experts that are not on the GPU: "auto" (measured), "on", "off".
        deterministic: True keeps the CPU out of the sums: the same bits from run to run. By default the last bits may
            differ, for which experts the CPU computes depends on timing.
        **kw: `device`: where it runs, "cuda", "cuda:1" or "cpu" (default: a GPU where there is one); `context`, `math`,
            `routing_bytes` as in `ufm.Config`; `model_class`, a class of Transformers other than
            that of the checkpoint's config; `gguf_file`, the name of a GGUF file in `directory`; what is left goes to
            Transformers' `from_pretrained`.

    Raises:
        Unsupported: the checkpoint brings code of its own, is quantised in a way that is not read (docs/python.md), or
            has experts that UFM cannot page.
        ImportError: GGUF files, and no gguf package to read them with.
        BudgetError: the budget does not hold what must fit.
        UfmError: see `ufm.errors`.
    """
    given = {"vram": vram, "experts": experts, "host": host, "cpu_assist": cpu_assist, "deterministic": deterministic}
    given |= {name: kw.pop(name) for name in ("device", "context", "math", "routing_bytes") if name in kw}
    ufm_config = Config(**given)
    model_class = kw.pop("model_class", None)
    if kw.pop("trust_remote_code", False):
        raise Unsupported("trust_remote_code: code of a checkpoint's own is not run")
    if "gguf_file" in kw:
        directory = os.path.join(directory, kw.pop("gguf_file"))
    if is_gguf(directory):
        return load_gguf(directory, ufm_config.options, dtype, model_class, **kw)
    config = kw.pop("config", None) or _read_config(directory, kw)
    said = quantisation_of(config.to_dict())
    if said is not None and not said.get("quant_method"):
        raise Unsupported(f"{directory}: quantised ({method_of(said)}): expected a quant_method in quantization_config")
    loader = model_class or class_of(config)
    return loader.from_pretrained(
        directory, config=config, dtype="auto" if dtype is None else dtype, quantization_config=ufm_config, **kw
    )


def _read_config(directory: str | os.PathLike[str], kw: dict[str, Any]) -> Any:
    """The checkpoint's config.json, by Transformers."""
    text = os.fspath(directory)
    if os.path.isabs(text) or text.startswith("."):
        if not os.path.isdir(text):
            raise FileError(f"{text}: no such folder: expected one with config.json and .safetensors files")
        if not os.path.isfile(os.path.join(text, "config.json")):
            raise FileError(f"{text}: no config.json in it: expected the folder of a checkpoint")
    places = {
        name: kw[name] for name in ("cache_dir", "revision", "token", "local_files_only", "subfolder") if name in kw
    }
    try:
        return AutoConfig.from_pretrained(directory, trust_remote_code=False, **places)
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise Unsupported(f"{directory}: its model is code of its own, which is not run") from error
        raise


def class_of(config: Any) -> Any:
    """The class that the checkpoint was saved from, where Transformers has it; else the causal language model."""
    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, name, None)
        if found is not None:
            return found
    return AutoModelForCausalLM
