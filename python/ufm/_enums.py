# SPDX-License-Identifier: MIT
"""The enums and numbers of ufm.h and plan.h; tests/python compares them with the headers."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """What a call came to."""

    OK = 0
    EINVAL = -1
    EBUSY = -2
    ETIMEDOUT = -3
    ENOMEM = -4
    EBUDGET = -5
    EUNSUPPORTED = -6
    EFILE = -7
    ECANCELED = -8
    EEXPERT_IO = -20
    EFORMAT = -40
    EDEVMEM = -60
    EDEVICE = -61
    EBACKEND = -62


class LogLevel(enum.IntEnum):
    """How much a line of the log matters."""

    INFO = 1
    WARN = 2


class Dtype(enum.IntEnum):
    """Plain elements. Biases of experts are F32 or BF16, all else may be any."""

    F32 = 1
    BF16 = 2
    F16 = 3

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return 4 if self is Dtype.F32 else 2


class Math(enum.IntEnum):
    """How a device computes the products of experts; sums are always f32."""

    FP32 = 1
    TF32 = 2
    BF16 = 3


class Role(enum.IntEnum):
    """A part's place in the arithmetic. Matrices are row-major [rows, cols], y = W x + b."""

    UP = 1
    UP_BIAS = 2
    GATE = 3
    GATE_BIAS = 4
    DOWN = 5
    DOWN_BIAS = 6
    UP_SCALE = 7
    GATE_SCALE = 8
    DOWN_SCALE = 9
    UP_ZERO = 10
    GATE_ZERO = 11
    DOWN_ZERO = 12
    UP_FACTOR = 13
    GATE_FACTOR = 14
    DOWN_FACTOR = 15


class Format(enum.IntEnum):
    """How a part's elements are stored.

    Q8_0 to MXFP4 carry their scales in their blocks, as in GGUF files; E4M3, E2M1 and U4 have them in parts beside;
    E8M0 is for scales, U8 for zero points.
    """

    PLAIN = 0
    Q8_0 = 1
    Q4_0 = 2
    Q5_0 = 3
    Q4_K = 4
    Q5_K = 5
    Q6_K = 6
    IQ4_NL = 7
    IQ4_XS = 8
    MXFP4 = 9
    E4M3 = 16
    E2M1 = 17
    U4 = 18
    E8M0 = 24
    U8 = 25


class Activation(enum.IntEnum):
    """Applied to `up` without a gate, to `gate` with one (then multiplied by `up`)."""

    GELU = 1
    SILU = 2
    GELU_TANH = 3
    RELU2 = 4


class ExpertKind(enum.IntEnum):
    """Standard layouts: MLP (up, down; GELU), MLP_BIAS (the same with biases), GATED (gate, up, down; SiLU)."""

    MLP = 1
    MLP_BIAS = 2
    GATED = 3


class CpuAssist(enum.IntEnum):
    """Whether the CPU computes experts that are not on the device."""

    AUTO = 0
    OFF = 1
    ON = 2


class Scoring(enum.IntEnum):
    """How a router makes scores out of its logits."""

    SOFTMAX = 1
    SIGMOID = 2


class Place(enum.IntEnum):
    """Where tokens lie."""

    ON_HOST = 0
    ON_DEVICE = 1


class PlanBound(enum.IntEnum):
    """What most of the time of a planned step goes to."""

    HBM = 1
    COMPUTE = 2
    LINK = 3
    SHARED = 4
    HOST = 5


PARTS_MAX = 16
WAIT_FOREVER = 2**64 - 1
NORM_TOPK_ADDEND = 1e-20
