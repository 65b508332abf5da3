# SPDX-License-Identifier: MIT
"""The commands of `python -m ufm`: each module has `add(parsers)`, which declares its options, and `run(args)`, which
returns the exit code."""
