# SPDX-License-Identifier: MIT
"""A Python function that writes experts, as libufm calls it, and what it raises on threads that are not Python's."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ._enums import Status
from ._library import last_error
from ._structs import BankReadFn

ReadFn = Callable[[int, int, memoryview], object]

_NEVER = threading.Event()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _forget_locals(error: BaseException) -> None:
    """Variables in the frames of a traceback may be views of the block, whose memory is given back after a failure:
    whoever prints them would crash.
    """
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


class Outcome(NamedTuple):
    """What a call of libufm that asks for experts came to, and the exception of the function that ended it, or None."""

    status: int
    why: str
    raised: BaseException | None


class Reader:
    """`function` is libufm's: whoever makes it ask for experts holds this. An exception ends that call.

    It is never asked on the main thread: there Python raises KeyboardInterrupt as soon as C calls it, out of reach of
    what could tell C that the expert was not written.
    """

    def __init__(self, read: ReadFn, expert_bytes: int) -> None:
        self._read = read
        self._block = ctypes.c_ubyte * expert_bytes
        self._lock = threading.Lock()
        # Of each call in progress that may ask: what was raised since it began.
        self._calls: list[list[BaseException]] = []
        self._here = threading.local()
        self.function = BankReadFn(self._asked)

    def _asked(self, _: object, layer: int, expert: int, address: int) -> int:
        try:
            if getattr(self._here, "given_up", _NEVER).is_set():
                return Status.ECANCELED
            # memoryview.cast makes plain bytes of what ctypes describes by its own format.
            block = memoryview(self._block.from_address(address)).cast("B")
            self._read(layer, expert, block)
            block.release()
        except BaseException as error:
            self._note(error)
            with contextlib.suppress(BaseException):
                _forget_locals(error)
            return Status.EEXPERT_IO
        return Status.OK

    def _note(self, error: BaseException) -> None:
        with self._lock:
            for raised in self._calls:
                raised.append(error)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[list[BaseException]]:
        raised: list[BaseException] = []
        with self._lock:
            self._calls.append(raised)
        try:
            yield raised
        finally:
            with self._lock:
                self._calls = [each for each in self._calls if each is not raised]

    def call(self, function: Callable[[], int]) -> Outcome:
        """Calls libufm. Not on the main thread.

        Of two calls that fail at a time, which the same function made fail, each may get what ended the other.
        """
        with self._listening() as raised:
            status = function()
            why = last_error() if status else ""
            return Outcome(status, why, raised[0] if raised and status == Status.EEXPERT_IO else None)

    def call_aside(self, function: Callable[[], int]) -> Outcome:
        """The same on a thread of its own, for any thread. KeyboardInterrupt ends it before the next expert."""
        aside = _Aside(self._here, lambda: self.call(function))
        try:
            aside.start()
            aside.ended.wait()
        except BaseException:
            aside.give_up()
            raise
        return aside.outcome


class _Aside(threading.Thread):
    """One call on a thread of its own. Whoever waits for it goes on when it is over, interrupted or not."""

    def __init__(self, here: threading.local, work: Callable[[], Outcome]) -> None:
        super().__init__(name="ufm bank", daemon=True)
        self._here, self._work = here, work
        self._given_up = threading.Event()
        self.ended = threading.Event()
        self.outcome = Outcome(Status.ECANCELED, "", None)

    def run(self) -> None:
        self._here.given_up = self._given_up
        try:
            if not self._given_up.is_set():
                self.outcome = self._work()
        except BaseException as error:
            self.outcome = Outcome(Status.EEXPERT_IO, "", error)
        finally:
            self.ended.set()

    def give_up(self) -> None:
        """Without a number yet it has not begun, and will do nothing if it does."""
        self._given_up.set()
        while self.ident is not None and not self.ended.is_set():
            with contextlib.suppress(KeyboardInterrupt):
                self.ended.wait()
