# SPDX-License-Identifier: MIT
"""What goes wrong, as exceptions: one class for each status of libufm, all of them `UfmError`.

The message is libufm's own line: it names what was wrong and what was expected.
"""

from __future__ import annotations

from ._enums import Status

__all__ = [
    "BackendError",
    "BudgetError",
    "Busy",
    "Canceled",
    "DeviceLost",
    "DeviceMemoryError",
    "ExpertReadError",
    "FileError",
    "FormatError",
    "HostMemoryError",
    "InvalidArgument",
    "TimedOut",
    "UfmError",
    "Unsupported",
    "error_of",
]


class UfmError(RuntimeError):
    """A call of libufm, or of this package, failed. `status` is the status in libufm's terms."""

    status: Status = Status.EINVAL


class InvalidArgument(UfmError, ValueError):
    """An argument or option is wrong, or an object is closed. Nothing changed."""

    status = Status.EINVAL


class Busy(UfmError):
    """Leases hold what this call needs: try again after a release."""

    status = Status.EBUSY


class TimedOut(UfmError, TimeoutError):
    """The time that was given passed first."""

    status = Status.ETIMEDOUT


class HostMemoryError(UfmError, MemoryError):
    """Host memory does not suffice."""

    status = Status.ENOMEM


class BudgetError(UfmError):
    """The smallest working set does not fit the budget of device memory."""

    status = Status.EBUDGET


class Unsupported(UfmError):
    """Understood, but not available here."""

    status = Status.EUNSUPPORTED


class FileError(UfmError, OSError):
    """A file or folder cannot be opened, read or written."""

    status = Status.EFILE


class Canceled(UfmError):
    """The caller's own function said to stop."""

    status = Status.ECANCELED


class ExpertReadError(UfmError, OSError):
    """The bytes of one expert could not be read. Other experts stay usable."""

    status = Status.EEXPERT_IO


class FormatError(UfmError):
    """A malformed file."""

    status = Status.EFORMAT


class DeviceMemoryError(UfmError):
    """Device memory is exhausted."""

    status = Status.EDEVMEM


class DeviceLost(UfmError):
    """The device is lost: only closing still works."""

    status = Status.EDEVICE


class BackendError(UfmError):
    """There is no such backend, or its plugin was refused."""

    status = Status.EBACKEND


_CLASSES: dict[int, type[UfmError]] = {
    cls.status: cls
    for cls in (
        InvalidArgument,
        Busy,
        TimedOut,
        HostMemoryError,
        BudgetError,
        Unsupported,
        FileError,
        Canceled,
        ExpertReadError,
        FormatError,
        DeviceMemoryError,
        DeviceLost,
        BackendError,
    )
}


def error_of(status: int, message: str) -> UfmError:
    """The exception for a status. One that this package does not know is a plain `UfmError` that names it."""
    cls = _CLASSES.get(status)
    if cls is not None:
        return cls(message)
    return UfmError(f"{message} (status {status}, which this package does not know)")
