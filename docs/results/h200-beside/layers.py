#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""layers.py TIMELINE.json.gz: how long a layer takes, by experts that the CPU computes in it, copies that it waits for,
and whether a copy is in flight during its first 60 us (for 20 of them at least). The last layer of a step is left out."""
import bisect
import collections
import gzip
import json
import statistics
import sys

spans = collections.defaultdict(list)
for event in json.load(gzip.open(sys.argv[1]))["traceEvents"]:
    if event.get("ph") == "X":
        spans[event["name"]].append((event["ts"], event["ts"] + event["dur"], event.get("args", {})))
starts = {}
for name, found in spans.items():
    found.sort(key=lambda span: span[0])
    starts[name] = [span[0] for span in found]


def within(name, begin, end):
    return spans[name][bisect.bisect_left(starts[name], begin):bisect.bisect_left(starts[name], end)]


def overlap(name, begin, end):
    near = spans[name][max(0, bisect.bisect_left(starts[name], begin) - 6):bisect.bisect_left(starts[name], end)]
    return sum(max(0, min(end, span[1]) - max(begin, span[0])) for span in near)


layers, groups = spans["layer"], collections.defaultdict(list)
last = max(layer[2]["layer"] for layer in layers)
for (begin, _, args), (after, _, _) in zip(layers, layers[1:]):
    if args["layer"] == last:
        continue
    cpu, combine = within("expert", begin, after), within("combine", begin, after)
    stalls = len(within("wait for a copy", begin, after))
    route = sum(span[1] - span[0] for span in within("route", begin, after))
    groups[len(cpu), stalls, overlap("copy", begin, begin + 60) > 20].append(
        (after - begin, route, cpu[0][0] - begin if cpu else 0, combine[-1][0] - cpu[-1][1] if cpu and combine else 0))
print("on CPU  waits  copy in flight  layers      us   route  CPU begins  CPU's end to combine")
for (cpu, stalls, busy), found in sorted(groups.items()):
    if len(found) >= 20:
        took, route, begins, merge = (statistics.mean(column) for column in zip(*found))
        print(f"{cpu:6}{stalls:7}{'yes' if busy else 'no':>16}{len(found):8}{took:8.0f}{route:8.0f}{begins:12.0f}{merge:22.0f}")
