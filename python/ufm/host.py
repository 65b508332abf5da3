# SPDX-License-Identifier: MIT
"""The host tier: every block of a bank in host memory, and how loading it is watched, stopped and interrupted."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from ._fields import fill
from ._handle import Handle, Owner, calling_back
from ._library import last_error, lib
from ._reader import Reader
from ._structs import HostProgressFn, StopFn, ufm_host_config, ufm_host_debug
from .bank import Bank
from .errors import error_of

__all__ = ["Host"]

# How often the thread that loads looks after its functions and signals.
_SLICE_S = 0.05


class _Loading:
    """One load. libufm works in a thread of its own; the caller's waits, so that signals and exceptions reach it."""

    def __init__(
        self,
        bank: int,
        config: ufm_host_config,
        reader: Reader | None,
        progress: Callable[[int, int], object] | None,
        stop: Callable[[], object] | None,
    ) -> None:
        self.bank, self.config, self.reader = bank, config, reader
        self.progress, self.stop = progress, stop
        self.stopped = False
        self.done: tuple[int, int] | None = None
        self.told: tuple[int, int] | None = None
        self.out = ctypes.c_void_p()
        self.status, self.why = 0, ""
        self.raised: BaseException | None = None
        self.ended = threading.Event()
        # They live as long as this object, which outlives the load.
        config.progress = self._note = HostProgressFn(self._noted)
        config.stop = self._asked = StopFn(self._stop_asked)

    def _noted(self, _: object, done: int, total: int) -> None:
        with calling_back():
            self.done = (done, total)

    def _stop_asked(self, _: object) -> int:
        return int(self.stopped)

    def _open(self) -> int:
        return int(lib.ufm_host_open(self.bank, ctypes.byref(self.config), ctypes.byref(self.out)))

    def _load(self) -> None:
        try:
            if self.reader is not None:
                self.status, self.why, self.raised = self.reader.call(self._open)
            else:
                self.status = self._open()
                self.why = last_error() if self.status else ""
        finally:
            self.ended.set()

    def _tell(self) -> None:
        done = self.done
        if self.progress is None or done is None:
            return
        if self.told is None and done[0]:
            self.progress(0, done[1])
        if done != self.told:
            self.told = done
            self.progress(*done)

    def _watch(self) -> None:
        while not self.ended.wait(_SLICE_S):
            self._tell()
            if self.stop is not None and self.stop():
                self.stopped = True

    def _give_up(self) -> None:
        """Ends the load, whatever comes meanwhile, and takes back what it made."""
        self.stopped = True
        while not self.ended.is_set():
            try:
                self.ended.wait()
            except KeyboardInterrupt:
                continue
        if self.out.value:
            lib.ufm_host_close(self.out)

    def _failure(self) -> BaseException:
        """Gives it away: a traceback that refers to this object is not to be referred to by it."""
        raised, self.raised = self.raised, None
        return raised if raised is not None else error_of(self.status, self.why)

    def run(self) -> int:
        thread = threading.Thread(target=self._load, name="ufm host", daemon=True)
        try:
            thread.start()
            self._watch()
            if self.status:
                raise self._failure()
            self._tell()
            return self.out.value or 0
        except BaseException:
            if thread.ident is not None:
                self._give_up()
            raise


class Host(Owner):
    """A bank's blocks in host memory, page-locked for a backend's devices and shared by all its engines.

    `backend`: "auto", "cpu", or a plugin's name. `fill_threads`: 0 for the default, the cores of this process and for
    banks from files at least 8. `pageable`: ordinary memory instead of page-locked.

    `progress(done_bytes, total_bytes)` is told first 0, then rising numbers up to 20 times a second, and the total
    when all is loaded. `stop()` is asked as often: anything true ends the load with `Canceled`. Both are called on
    the thread that opens. What they raise, KeyboardInterrupt too, ends the load within a block's time and is raised
    here; nothing is left. So is what the function of a `Bank.callback` raises.

    HostMemoryError: more than 80 % of the memory available; BackendError; ExpertReadError. In a child process after a
    fork every call on it is InvalidArgument.
    """

    __slots__ = ("bank",)

    def __init__(
        self,
        bank: Bank,
        backend: str = "auto",
        fill_threads: int = 0,
        pageable: bool = False,
        progress: Callable[[int, int], object] | None = None,
        stop: Callable[[], object] | None = None,
        store_filter: str | None = None,
    ) -> None:
        """`store_filter` is for tests: "fault:layer=L,expert=E" makes that read fail."""
        config = ufm_host_config()
        fill(config, backend=backend, fill_threads=fill_threads, pageable=int(pageable))
        if store_filter is not None:
            debug = ufm_host_debug()
            fill(debug, store_filter=store_filter)
            config.debug = ctypes.pointer(debug)
        bank.info  # noqa: B018  kept by the bank, which may be closed when an engine asks
        #: what it was loaded from; may be closed
        self.bank = bank
        self._own(
            Handle(_Loading(bank.pointer, config, bank._reader, progress, stop).run(), lib.ufm_host_close, bank._handle)
        )
