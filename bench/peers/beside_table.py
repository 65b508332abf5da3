#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the one table of `beside.sh` from what its stages left: DIR/table.md and DIR/table.json.

What not fitting adds to a token is a row's step less the same engine's own step with all experts resident.
A peer's step holds attention too, in both, so that what is left is the cost of the experts alone.
"""
import argparse
import json
import os
import sys

GIB = 2**30
# Who, whose all-resident step is theirs, the stage and the rows of it.
PEERS = (
    ("FreeToken offload", "FreeToken", "free_offload", {"strategy": "offload"}, "cache_bytes"),
    ("FreeToken hybrid", "FreeToken", "free_hybrid", {"strategy": "hybrid"}, "cache_bytes"),
    ("llama.cpp, its cache", "llama.cpp", "llama_cache", {"place": "cache"}, "cache_mib"),
    ("llama.cpp, split by layer", "llama.cpp", "llama_split", {"place": "split"}, None),
    ("PyTorch, page-locked LRU", "PyTorch", "torch_lru", {"mode": "torch_lru"}, "vram_bytes"),
    ("accelerate", "accelerate", "accelerate", {"mode": "accelerate_offload"}, "vram_bytes"),
)
RESIDENT = (
    ("FreeToken", "free_fused", {"strategy": "fused"}), ("llama.cpp", "llama_resident", {"place": "resident"}),
    ("PyTorch", "torch_resident", {"mode": "torch_resident"}),
    ("accelerate", "accelerate", {"mode": "accelerate_offload", "vram_bytes": None}),
)
CPU_ALONE = ("llama.cpp, CPU alone", "llama_cpu", {"place": "cpu"})


def stop(why):
    sys.exit(f"bench/peers/beside_table.py: {why}")


def lines(folder, *path):
    """The JSON lines of a file, none where it is absent."""
    name = os.path.join(folder, *path)
    if not os.path.exists(name):
        return []
    try:
        with open(name, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]
    except ValueError as error:
        stop(f"{name}: {error}")


def rows_of(folder, stage, wanted):
    return [row for row in lines(folder, stage, "rows.jsonl")
            if all(row.get(name) == value for name, value in wanted.items())]


def wrong(row):
    """Why a row counts for nothing, or an empty string."""
    if row.get("error"):
        return row["error"]
    if row.get("status", "ok") != "ok":
        return row["status"]
    if row.get("steps_off_trace"):
        return f"{row['steps_off_trace']} steps off the trace"
    if row.get("rows_different"):
        return f"{row['rows_different']} choices of a router that are not the trace's"
    return ""


class Line:
    """One engine with one way of placing experts: tokens a second all resident and by budget."""

    def __init__(self, who, ours=False):
        self.who, self.ours = who, ours
        self.comparable = True
        self.decode, self.prefill, self.notes = {}, {}, []

    def put(self, budget, row, decode="tokens_per_s", prefill="prefill_tokens_per_s"):
        """`budget` in bytes; None: all resident."""
        why = wrong(row)
        if why:
            place = "all resident" if budget is None else gib(budget)
            self.notes.append(f"{self.who}, {place}: {why}")
            return
        for into, name in ((self.decode, decode), (self.prefill, prefill)):
            if name and row.get(name):
                into[budget] = row[name]

    def adds_ms(self, budget):
        """None where one of the two steps is not known."""
        if budget not in self.decode or None not in self.decode:
            return None
        return 1e3 / self.decode[budget] - 1e3 / self.decode[None]


def gib(size):
    return f"{size / GIB:.4g} GiB" if size >= GIB / 8 else f"{size / 2**20:.4g} MiB"


def our_lines(folder):
    """`off` and `auto`, which share the row that has everything resident."""
    made = {name: Line(f"UFM `{name}`", ours=True) for name in ("off", "auto")}
    for stage, decode, prefill in (("ours", "tokens_per_s", None), ("ours_prefill", None, "tokens_per_s")):
        found = os.path.join(folder, stage)
        for name in sorted(os.listdir(found)) if os.path.isdir(found) else []:
            kind, _, place = name.partition("-")
            for row in lines(found, name, "runs.jsonl"):
                for line in made.values() if kind == "resident" else [made[kind]] if kind in made else []:
                    line.put(None if place == "all" else int(place), row, decode, prefill)
                    line.comparable &= row.get("ids") == "device"
    for line in made.values():
        if line.decode and not line.comparable:
            line.notes.append(f"{line.who}: found rows whose ids were handed ahead, which no model can do: no ratio")
    return [line for line in made.values() if line.decode or line.prefill or line.notes]


def budgets_of(folder):
    """The budgets that ours or any peer was measured at, largest first."""
    found = set()
    ours = os.path.join(folder, "ours")
    for name in os.listdir(ours) if os.path.isdir(ours) else []:
        if name.partition("-")[2].isdigit() and os.path.isdir(os.path.join(ours, name)):
            found.add(int(name.partition("-")[2]))
    for _, _, stage, wanted, field in PEERS:
        for row in rows_of(folder, stage, wanted):
            if budget_of(row, field):
                found.add(budget_of(row, field))
    return sorted(found, reverse=True)


def budget_of(row, field):
    size = row.get(field or "budget_bytes")
    return size * 2**20 if size and field == "cache_mib" else size


def peer_lines(folder):
    made = []
    resident = {who: rows_of(folder, stage, wanted) for who, stage, wanted in RESIDENT}
    for who, engine, stage, wanted, field in PEERS:
        rows = rows_of(folder, stage, wanted)
        if not rows:
            continue
        line = Line(who)
        for row in resident[engine]:
            line.put(None, row)
        for row in rows:
            if budget_of(row, field):
                line.put(budget_of(row, field), row)
        made.append(line)
    return made


def best_peer(found, budget):
    added = [line.adds_ms(budget) for line in found if not line.ours]
    return min((ms for ms in added if ms is not None), default=None)


def ratios(found, budgets):
    """By budget: what not fitting adds to the better peer's token, by what it adds to ours.

    None where either adds nothing: then the difference of two steps is noise.
    """
    made = {}
    for budget in budgets:
        peer = best_peer(found, budget)
        for line in found:
            ms = line.adds_ms(budget) if line.ours and line.comparable else None
            if peer is not None and ms is not None and peer > 0 and ms > 0:
                made.setdefault(line.who, {})[budget] = peer / ms
    return made


def number(value, form):
    return "–" if value is None else format(value, form)


def speed_table(found, budgets, which):
    head = ["who", "all resident", *map(gib, budgets)]
    out = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for line in found:
        speeds = getattr(line, which)
        if speeds:
            cells = [number(speeds.get(place), ",.0f" if which == "prefill" else ",.1f") for place in (None, *budgets)]
            out.append("| " + " | ".join([line.who, *cells]) + " |")
    return out


def added_table(found, budgets):
    head = ["what not fitting adds to a token, ms", *map(gib, budgets)]
    out = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(budgets)]
    for line in found:
        if any(line.adds_ms(budget) is not None for budget in budgets):
            cells = [number(line.adds_ms(budget), ".2f") for budget in budgets]
            out.append("| " + " | ".join([line.who, *cells]) + " |")
    for who, by_budget in ratios(found, budgets).items():
        cells = [number(by_budget.get(budget), ".2f") for budget in budgets]
        out.append("| " + " | ".join([f"**the better peer ÷ {who}**", *cells]) + " |")
    return out


def block_table(rows):
    tokens = sorted({row["tokens"] for row in rows})
    out = ["| Transformers' routed block, µs a layer | " + " | ".join(f"{n:,} tokens" for n in tokens) + " |",
           "|---|" + "---:|" * len(tokens)]
    for name in dict.fromkeys(row["implementation"] for row in rows):
        by_tokens = {row["tokens"]: row["us"] for row in rows if row["implementation"] == name}
        out.append("| " + " | ".join([f"`{name}`", *(number(by_tokens.get(n), ",.0f") for n in tokens)]) + " |")
    return out


def cpu_alone(row):
    return f"{CPU_ALONE[0]}: " + (wrong(row) or f"{row['tokens_per_s']:,.1f} tok/s, {row['threads']} threads")


def as_json(found, budgets, blocks, cpu):
    def keyed(values):
        return {"all" if place is None else str(place): value for place, value in values.items()}

    return {
        "budgets_bytes": budgets,
        "rows": [{"who": line.who, "ours": line.ours, "tokens_per_s": keyed(line.decode),
                  "prefill_tokens_per_s": keyed(line.prefill),
                  "added_ms": keyed({b: line.adds_ms(b) for b in budgets if line.adds_ms(b) is not None})}
                 for line in found],
        "better_peer_by_ours": {who: keyed(values) for who, values in ratios(found, budgets).items()},
        "cpu_alone": cpu, "blocks": blocks, "notes": [note for line in found for note in line.notes],
    }


def main():
    parser = argparse.ArgumentParser(prog="bench/peers/beside_table.py", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="the --out of beside.sh")
    folder = parser.parse_args().folder
    if not os.path.isdir(folder):
        stop(f"{folder}: found no folder, expected the --out of beside.sh")
    budgets, blocks = budgets_of(folder), lines(folder, "blocks", "rows.jsonl")
    found, cpu = our_lines(folder) + peer_lines(folder), rows_of(folder, CPU_ALONE[1], CPU_ALONE[2])
    out = ["Decode, batch 1, tokens a second:", "", *speed_table(found, budgets, "decode"), ""]
    out += added_table(found, budgets)
    if any(line.prefill for line in found):
        out += ["", "Prefill, tokens a second:", "", *speed_table(found, budgets, "prefill")]
    if blocks:
        out += ["", *block_table(blocks)]
    notes = list(dict.fromkeys(note for line in found for note in line.notes))
    notes += [cpu_alone(row) for row in cpu]
    notes += [f"{row['implementation']}, {row['tokens']} tokens: {row['error']}" for row in blocks if row["error"]]
    out += [""] * bool(notes) + [f"- {note}" for note in notes]
    for name, text in (("table.md", "\n".join(out) + "\n"),
                       ("table.json", json.dumps(as_json(found, budgets, blocks, cpu), indent=1) + "\n")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    print("\n".join(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
