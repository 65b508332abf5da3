# SPDX-License-Identifier: MIT
"""Who owns a C object, and in which order objects close.

A handle knows the object that its own was made of, and those that must close before it. So `close()` and the garbage
collector, which may find several Python objects in any order, always close layers and leases before their engine.
Nothing is closed when the interpreter ends: threads may still be at work, and the system takes everything back.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .errors import InvalidArgument

# Set while C calls back into Python: C may hold locks there, under which nothing may be closed.
_calling_back = threading.local()
_deferred: list[Handle] = []

# One closes at a time, else an engine could close while the garbage collector is at its layer on another thread. A
# child process has no such thread.
_closing = threading.RLock()


def _renew_lock() -> None:
    global _closing
    _closing = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class Handle:
    """One C object. `pointer` is None once it is closed, which libufm refuses by name."""

    __slots__ = ("__weakref__", "_close", "_dependents", "keep", "parent", "pointer")

    def __init__(
        self,
        pointer: int,
        close: Callable[[int], Any],
        parent: Handle | None = None,
        *,
        before: bool = False,
        keep: Any = None,
    ) -> None:
        """`before`: must close before its parent. `keep`: what must live as long as anything made of this."""
        _close_deferred()
        self.pointer: int | None = pointer
        self._close = close
        self.parent = parent
        self.keep = keep
        self._dependents: dict[Handle, None] = {}
        if before and parent is not None:
            parent._dependents[self] = None

    def close(self) -> None:
        """Closes what must close before, the latest first, then this. Once; any thread."""
        with _closing:
            pointer, self.pointer = self.pointer, None
            if pointer is None:
                return
            while self._dependents:
                self._dependents.popitem()[0].close()
            self._close(pointer)
            if self.parent is not None:
                self.parent._dependents.pop(self, None)

    def collected(self) -> None:
        """Closes for the garbage collector, which may come in the middle of a call from C: then later."""
        if getattr(_calling_back, "depth", 0):
            _deferred.append(self)
        else:
            self.close()

    def also_before(self, other: Handle) -> None:
        """It must close before another handle than its parent, too. `no_more_before` when it closes."""
        other._dependents[self] = None

    def no_more_before(self, other: Handle) -> None:
        """It has closed: the other does not keep it."""
        other._dependents.pop(self, None)


def _close_deferred() -> None:
    while _deferred and not getattr(_calling_back, "depth", 0):
        _deferred.pop().close()


class calling_back:
    """A context: C has called this thread's Python, so nothing may be closed in it."""

    def __enter__(self) -> None:
        _calling_back.depth = getattr(_calling_back, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _calling_back.depth -= 1


class Owner:
    """A Python object that owns one C object: a context manager, closed once, by hand or by the garbage collector."""

    _handle: Handle
    __slots__ = ("__weakref__", "_handle")

    def _own(self, handle: Handle) -> None:
        self._handle = handle
        weakref.finalize(self, handle.collected).atexit = False

    @property
    def pointer(self) -> int:
        """The address of the C object. InvalidArgument once it is closed."""
        pointer = self._handle.pointer
        if pointer is None:
            raise InvalidArgument(f"this {type(self).__name__} is closed")
        return pointer

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._handle.pointer is None

    def close(self) -> None:
        """Closes the C object, and what must close before it. May be called again, and does nothing then."""
        self._handle.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled: it is an object of libufm's, in this process"
        )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
