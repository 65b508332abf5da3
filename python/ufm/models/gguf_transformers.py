# SPDX-License-Identifier: MIT
"""The way through Transformers' own GGUF loader, which no version promises to keep: config, tokenizer, dense tensors.

The loader expands every tensor that its reader lists. While it runs it gets `Dense` in place of a reader, so that
nobody spends time or memory on experts; a model that was split over files is one to it, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import Unsupported
from .gguf_banks import close, open_kinds
from .gguf_file import Dense, package

_NAMES = ("load_gguf_checkpoint", "get_gguf_hf_weights_map", "TENSOR_PROCESSORS", "TensorProcessor", "tqdm")

_reading = threading.Lock()


def version() -> str:
    import transformers

    found: str = transformers.__version__
    return found


def _loader() -> Any:
    """The module. Unsupported: the installed version has it in another form."""
    try:
        from transformers import modeling_gguf_pytorch_utils as module
    except ImportError:
        raise Unsupported(f"GGUF: Transformers {version()} has no modeling_gguf_pytorch_utils: expected 5.17") from None
    missing = [name for name in _NAMES if not hasattr(module, name)]
    if missing:
        raise Unsupported(
            f"GGUF: Transformers {version()} has no {missing[0]} where it reads GGUF files: expected 5.17"
        )
    return module


@contextmanager
def _given(dense: Dense) -> Iterator[Any]:
    """Transformers' loader, which reads `dense` where it would open its file; other files are read as always.

    It imports `GGUFReader` when it begins to read, so what is replaced is the gguf package's own name. One load at a
    time, whatever the thread.
    """
    from transformers.utils import logging

    module, gguf, asked = _loader(), package(), 0
    real, bar = gguf.GGUFReader, module.tqdm

    def reader(path: Any, *args: Any, **named: Any) -> Any:
        nonlocal asked
        if os.path.abspath(path) != os.path.abspath(dense.path):
            return real(path, *args, **named)
        asked += 1
        return dense

    with _reading:
        # Its bar is shown even where the user has Transformers' bars hidden.
        gguf.GGUFReader, module.tqdm = reader, logging.tqdm
        try:
            yield module
        except (NotImplementedError, ValueError, KeyError, TypeError) as error:
            raise Unsupported(
                f"{dense.path}: Transformers {version()} cannot load it: {type(error).__name__}: {error}"
            ) from error
        finally:
            gguf.GGUFReader, module.tqdm = real, bar
    if not asked:
        raise Unsupported(f"{dense.path}: Transformers {version()} reads GGUF files in a way that is not known")


def config_of(dense: Dense) -> dict[str, Any]:
    """What the loader makes a configuration of."""
    with _given(dense) as module:
        found: dict[str, Any] = module.load_gguf_checkpoint(dense.path, return_tensors=False)["config"]
    return found


def tensors_of(dense: Dense, model: Any) -> dict[str, torch.Tensor]:
    """All tensors but the experts', by the model's names, in its dtype.

    Raises:
        Unsupported: the files have one that the loader would pass over in silence, or cannot expand.
    """
    _refuse_strangers(dense, model)
    with _given(dense) as module:
        found: dict[str, torch.Tensor] = module.load_gguf_checkpoint(
            dense.path, return_tensors=True, model_to_load=model, torch_dtype=model.dtype
        )["tensors"]
    return found


def _refuse_strangers(dense: Dense, model: Any) -> None:
    module = _loader()
    processor = module.TENSOR_PROCESSORS.get(dense.architecture, module.TensorProcessor)(config={})
    known = module.get_gguf_hf_weights_map(model, processor)
    strangers = [tensor.name for tensor in dense.tensors if tensor.name not in known]
    if strangers:
        raise Unsupported(f'{dense.path}: tensor "{strangers[0]}": Transformers {version()} leaves it out')


def tokenizer_of(path: str | os.PathLike[str]) -> Any:
    """The tokenizer of a model in GGUF files (`is_gguf`)."""
    from transformers import AutoTokenizer

    close(open_kinds(path))  # says better than others what is wrong with a file
    dense = Dense(path)
    folder, name = os.path.split(os.path.abspath(dense.path))
    with _given(dense):
        return AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False)
