# SPDX-License-Identifier: MIT
"""Leases: experts pinned in device slots, for whoever computes with them himself."""

from __future__ import annotations

from ._enums import WAIT_FOREVER
from ._fields import whole
from ._handle import Handle, Owner
from ._library import check, lib
from .errors import InvalidArgument

__all__ = ["Lease"]


class _Release:
    """How a lease ends: with the stream that it was made ready for last, or with none, as unused."""

    __slots__ = ("status", "stream")

    def __init__(self) -> None:
        self.stream: int | None = None
        self.status = 0

    def __call__(self, pointer: int) -> None:
        self.status = lib.ufm_release(pointer, self.stream)


class Lease(Owner):
    """Experts pinned in device slots until the release: `with engine.acquire(layer, experts) as lease:`.

    Made by `Engine.acquire`. The release marks what is enqueued so far, on the stream that was made ready last, as
    the last use of the experts; without one they count as unused. For use on one thread at a time.
    """

    __slots__ = ("_count", "_release", "engine")

    def __init__(self, engine: Owner, pointer: int, count: int) -> None:
        #: the `Engine` whose slots they are, and which lives as long as the lease
        self.engine = engine
        self._count = count
        self._release = _Release()
        self._own(Handle(pointer, self._release, engine._handle, before=True))

    def __len__(self) -> int:
        return self._count

    def ready(self, stream: int, wait_ns: int = WAIT_FOREVER) -> None:
        """Orders a stream (`Engine.stream_of`, `Engine.open_stream`) after the arrival of the experts' bytes.
        TimedOut.
        """
        check(lib.ufm_acquire_ready(self.pointer, stream, whole("wait_ns", wait_ns, 64)))
        self._release.stream = stream

    def view(self, index: int) -> int:
        """The device address of the index-th expert, valid on a stream that was made ready, until the release."""
        if not 0 <= index < self._count:
            raise InvalidArgument(f"index is {index}, expected 0 … {self._count - 1}")
        return int(lib.ufm_lease_view(self.pointer, index))

    def release(self, stream: int | None = None) -> None:
        """Unpins. `stream`: whose work so far is the last use, where it is not the one that was made ready last."""
        if stream is not None:
            self._release.stream = stream
        self.close()
        check(self._release.status)
