# SPDX-License-Identifier: MIT
"""What one test case came to, and which reasons for skipping are accepted."""
import re
from dataclasses import dataclass

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

# A case may skip for what a machine can lack, never for what the project should have made ready.
SKIP_REASONS = [re.compile(text, re.IGNORECASE) for text in (
    r"\bno GPU\b",
    r"\bCPU lacks\b",
    r"\bkernel refuses AMX\b",
    r"\bnot root\b",
    r"\brunning as root\b",
    r"\bnot under a sanitizer\b",
    r"\bno (user )?namespaces\b",
    r"\bno ABI description for \S+",
    r"\bneeds the cpu backend\b",
    r"\bbackend does not read \S+",
    r"\bno peer: \S+",
)]
# Accepted too where nothing could be installed; not in CI.
SKIP_REASONS_NOT_STRICT = SKIP_REASONS + [re.compile(r"\bnot installed: \S+", re.IGNORECASE)]


@dataclass
class Result:
    name: str
    outcome: str
    reason: str = ""


def skipped(name, reason, strict):
    """A skip, or a failure where the reason is not an accepted one."""
    allowed = SKIP_REASONS if strict else SKIP_REASONS_NOT_STRICT
    if any(pattern.search(reason) for pattern in allowed):
        return Result(name, SKIPPED, reason)
    return Result(name, FAILED, "skipped for a reason that is not accepted: " + (reason or "none given"))


def count(results):
    return tuple(sum(r.outcome == outcome for r in results) for outcome in (PASSED, FAILED, SKIPPED))
