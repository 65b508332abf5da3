#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pairs.py ROWS.jsonl: each variant beside the first of its group, whose engines took turns over the same tokens."""
import collections
import json
import sys

found = collections.defaultdict(lambda: collections.defaultdict(list))
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    found[row["group"], row["residency"]][row["variant"]].append(row)
print(f"{'group':6}{'%':>3}  {'variant':48}{'ms':>7}{'tok/s':>8}{'of first':>9}  {'misses':>7}{'later':>7}  windows")
for (group, residency), variants in found.items():
    first = next(iter(variants.values()))
    for name, rows in variants.items():
        steps, seconds = (sum(row[key] for row in rows) for key in ("steps", "seconds"))
        count = {key: sum(row["counters"][key] for row in rows) / steps for key in rows[0]["counters"]}
        windows = " ".join(f"{mine['seconds'] / row['seconds']:.2f}" for mine, row in zip(first, rows))
        print(f"{group:6}{residency:>3}  {name:48}{1e3 * seconds / steps:7.3f}{steps / seconds:8.1f}"
              f"{sum(row['seconds'] for row in first) / seconds:9.3f}  "
              f"{count['streamed_uses'] + count['cpu_uses']:7.1f}{count['admitted_loads']:7.1f}  {windows}")
