# SPDX-License-Identifier: MIT
"""A model in GGUF files: where they are, what they say, and all of their tensors but the experts."""

from __future__ import annotations

import os
import re
from typing import Any

from ..errors import Unsupported

_MAGIC = b"GGUF"
_OTHERS = (".safetensors", ".safetensors.index.json")
_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
# Names of experts' tensors (docs/formats.md); libufm refuses files with others that sound like them.
_EXPERTS = re.compile(r"blk\.\d+\.ffn_(?:(?:gate|up|down|gate_up)_exps|(?:gate|up|down)\.\d+)\.(?:weight|bias)")


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether libufm takes a path for a model in GGUF files; one that is not there is if its name says so."""
    try:
        return _looks_so(os.fspath(path))
    except OSError:
        return False  # whoever opens it says why it cannot be


def _looks_so(text: str) -> bool:
    if os.path.isdir(text):
        names = os.listdir(text)
        return any(name.endswith(".gguf") for name in names) and not any(name.endswith(_OTHERS) for name in names)
    if text.endswith(".gguf") or not os.path.isfile(text):
        return text.endswith(".gguf")
    with open(text, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def first_file(path: str | os.PathLike[str]) -> str:
    """The file with the key-values of a model that `is_gguf`: the file itself, or the first that it was split into."""
    text = os.fspath(path)
    if os.path.isdir(text):
        names = sorted(name for name in os.listdir(text) if name.endswith(".gguf"))
        text = os.path.join(text, next((name for name in names if _is_first(name)), names[0]))
    split = _SPLIT.fullmatch(text)
    first = f"{split[1]}-00001-of-{split[3]}.gguf" if split else text
    return first if os.path.isfile(first) else text


def _is_first(name: str) -> bool:
    split = _SPLIT.fullmatch(name)
    return split is None or int(split[2]) == 1


def files_of(path: str | os.PathLike[str]) -> list[str]:
    """All files of a model that `is_gguf`, by their names."""
    first = first_file(path)
    split = _SPLIT.fullmatch(first)
    if split is None:
        return [first]
    named = [f"{split[1]}-{number:05}-of-{split[3]}.gguf" for number in range(1, int(split[3]) + 1)]
    return [name for name in named if os.path.isfile(name)] or [first]


class Dense:
    """What Transformers' loader takes of a `gguf.GGUFReader`, without the experts.

    Args:
        path: of a model that libufm has opened: so its files are whole.

    Attributes:
        fields: key-values, those of the first file.
        tensors: of all files, their data mapped and unread.

    Raises:
        ImportError: the gguf package is not there.
        Unsupported: it cannot read the files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, reader_class = first_file(path), package().GGUFReader
        try:
            readers = [reader_class(name) for name in files_of(self.path)]
        except (ValueError, KeyError, IndexError) as error:
            raise Unsupported(f"{self.path}: the gguf package cannot read it: {error}") from error
        self.all_fields = readers[0].fields
        # What Transformers 5.17 makes of these is the lengths of their names.
        self.fields = {key: field for key, field in self.all_fields.items() if ".rope.scaling." not in key}
        listed = [tensor for reader in readers for tensor in reader.tensors]
        self.tensors = [_named_as_loaded(tensor) for tensor in listed if not _EXPERTS.fullmatch(tensor.name)]

    def said(self, key: str) -> Any:
        """A key's value; None for a key that is not there."""
        field = self.all_fields.get(key)
        return None if field is None else field.contents()

    @property
    def architecture(self) -> str:
        return str(self.said("general.architecture"))


def _named_as_loaded(tensor: Any) -> Any:
    """The name under which Transformers looks for a parameter that is no weight of a module."""
    name = tensor.name
    return tensor._replace(name=name.removesuffix(".weight")) if name.endswith(".attn_sinks.weight") else tensor


def package() -> Any:
    """The gguf package. ImportError: it is not there."""
    try:
        import gguf
    except ImportError as error:
        raise ImportError(f"GGUF files are read with the gguf package ({error}): pip install gguf") from error
    return gguf
