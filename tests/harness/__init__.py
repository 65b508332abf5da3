# SPDX-License-Identifier: MIT
"""The parts of tests/run: each turns one kind of test into a list of results."""
