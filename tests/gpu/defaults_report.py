#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts what tests/gpu/defaults.sh measured beside its targets.

    tests/gpu/defaults_report.py RESULTS

Speeds are tokens by seconds over all windows of a case; a ratio is the median over windows of the same tokens. Exit status 1
if what was measured cannot count: ids that are not the trace's, a case that one build lacks, a row that failed.
Being short is a result.
"""
import glob
import json
import os
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass

MET, SHORT, NO_ROW = "met", "short", "no row"
# Of the best option.
EACH, MEAN, LINK_EACH = 0.97, 0.99, 0.95
HITS_APART, WORSE, CPU_ON = 0.005, 0.98, 0.98
CHOICE, SPEED = 0.98, 0.10
OF_FLOOR = 0.96
DECODE_TOK_S = {"4GiB": 155, "8GiB": 290, "14GiB": 520}
WAYS = [(label, assist) for label in ("now", "before") for assist in ("auto", "off", "on")]
AUTO, OFF, ON = WAYS[:3]


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


@dataclass
class Case:
    stage: str
    phase: str
    tokens: int
    residency: str
    rows: dict  # (label, assist): {(pass, round): row}

    @property
    def name(self):
        unit = "" if self.residency[-1] in "Bt" else " %"
        return f"{self.phase} {self.tokens:,}, {self.residency}{unit}"

    def speed(self, way):
        """Tokens by seconds over all windows: they have different tokens, some of which miss more."""
        rows = self.rows[way].values()
        return sum(row["steps"] * row["tokens"] for row in rows) / sum(row["seconds"] for row in rows)

    def hits(self, way):
        uses, hits = (sum(row["counters"][name] for row in self.rows[way].values())
                      for name in ("uses", "resident_uses"))
        return hits / uses

    def ratios(self, way, other):
        """Of windows that had the same tokens."""
        mine, theirs = self.rows[way], self.rows[other]
        return [row["tokens_per_s"] / theirs[window]["tokens_per_s"] for window, row in mine.items() if window in theirs]

    def ratio(self, way, other):
        return statistics.median(self.ratios(way, other))

    def spread(self, way, other):
        """How far these ratios lie apart: the noise of what is judged."""
        found = self.ratios(way, other)
        return (max(found) - min(found)) / statistics.median(found)

    def others(self):
        return [way for way in WAYS if way != AUTO and way in self.rows]

    def best(self):
        """The best way that is not this build's auto."""
        return max(self.others(), key=self.speed)

    def of_best(self):
        return self.ratio(AUTO, self.best())

    def whole(self):
        return all(way in self.rows for way in WAYS)


def cases_of(folder, stage):
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, stage, "rows", "*.jsonl"))):
        turn = os.path.basename(path).rsplit("-", 1)[-1]
        for row in read_rows(path):
            key = (row["phase"], row["tokens"], row["residency"])
            case = found.setdefault(key, Case(stage, *key, defaultdict(dict)))
            case.rows[row["label"], row["assist"]][turn, row["round"]] = row
    return list(found.values())


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" + "|--:" * (len(head) - 2) + "|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def verdict(good):
    return MET if good else SHORT


class Report:
    def __init__(self, folder):
        self.folder = folder
        self.cases = {stage: cases_of(folder, stage) for stage in ("decode", "prefill", "exact", "cpu_link")}
        self.lines, self.wrong = [], []

    def whole(self, *stages):
        return [case for stage in stages for case in self.cases[stage] if case.whole()]

    def target(self, what, target, measured=None, good=False):
        self.lines.append((what, target, measured or "", NO_ROW if measured is None else verdict(good)))

    # ---- auto against the options

    def never_slower(self):
        cases = self.whole("decode", "prefill")
        what = "auto of the best of off, on and all of the earlier build"
        if not cases:
            self.target(what, f"≥ {EACH} in each, ≥ {MEAN} in the mean")
            return
        ratios = [case.of_best() for case in cases]
        worst = min(cases, key=Case.of_best)
        self.target(f"{what}, {len(cases)} cases, worst", f"≥ {EACH}", f"{min(ratios):.3f} ({worst.name})",
                    min(ratios) >= EACH)
        self.target("the same, mean", f"≥ {MEAN}", f"{statistics.fmean(ratios):.3f}", statistics.fmean(ratios) >= MEAN)

    def link(self):
        cases = self.whole("cpu_link")
        what = "cpu backend, emulated link"
        if not cases:
            self.target(what, f"≥ {LINK_EACH} in each")
            return
        worst = min(cases, key=Case.of_best)
        self.target(f"{what}, {len(cases)} cases, worst", f"≥ {LINK_EACH}", f"{worst.of_best():.3f} ({worst.name})",
                    worst.of_best() >= LINK_EACH)

    # ---- hits, exact budgets

    def hits(self):
        cases = [case for case in self.whole("exact", "decode", "cpu_link") if case.phase == "decode"]
        what = "hit rate with the CPU path (auto, on) against without, decode"
        if not cases:
            self.target(what, f"within {HITS_APART}")
            return
        apart = {case.name + " " + way[1]: abs(case.hits(way) - case.hits(OFF)) for case in cases for way in (AUTO, ON)}
        worst = max(apart, key=apart.get)
        self.target(f"{what}, worst of {len(apart)}", f"within {HITS_APART}", f"{apart[worst]:.4f} ({worst})",
                    apart[worst] < HITS_APART + 1e-9)

    def exact(self):
        found = {case.residency: case for case in self.whole("exact")}
        for residency, least in DECODE_TOK_S.items():
            case = found.get(residency)
            what, target = f"decode, batch 1, {residency}, auto", f"≥ {least} tok/s"
            if case:
                self.target(what, target, f"{case.speed(AUTO):.1f} (before {case.speed(('before', 'auto')):.1f})",
                            case.speed(AUTO) >= least)
            else:
                self.target(what, target)
        case = found.get("resident")
        what = "decode, batch 1, all resident"
        if case:
            ratio = case.ratio(AUTO, ("before", "auto"))
            self.target(what, "not slower than before", f"{case.speed(AUTO):.1f}, {ratio:.3f} of before", ratio >= WORSE)
        else:
            self.target(what, "not slower than before")

    # ---- against the earlier build

    def worse(self):
        cases = [(case, assist, case.ratio(("now", assist), ("before", assist)))
                 for case in self.whole("decode", "prefill", "exact", "cpu_link") for assist in ("auto", "off", "on")]
        found = [f"{case.name}, {assist}: {ratio:.3f}" for case, assist, ratio in cases if ratio < WORSE]
        for name in self.large_names():
            ratio = self.large_ratio(name)
            if ratio is not None:
                cases.append((name, "", ratio))
                if ratio < WORSE:
                    found.append(f"{name}: {ratio:.3f}")
        what = f"rows of less than {WORSE} of the earlier build"
        if not cases:
            self.target(what, "none")
            return
        self.target(f"{what}, of {len(cases)}", "none", f"{len(found)}", not found)
        if found:
            print("Slower than the earlier build: " + "; ".join(found) + ".\n")

    # ---- rows of ufm bench

    def large_rows(self, name):
        path = os.path.join(self.folder, "large", name, "runs.jsonl")
        rows = read_rows(path) if os.path.exists(path) else []
        self.wrong += [f"{name}: {row['status']}: {row['error']}" for row in rows if row["status"] != "ok"]
        return [row for row in rows if row["status"] == "ok"]

    def large_names(self):
        return ["prefill_off", "prefill_auto", "prefill_on", "fp32_auto"]

    def large_ratio(self, name):
        """The least over the counts of experts."""
        now, before = ({row["num_experts"]: row["tokens_per_s"] for row in self.large_rows(f"{name}_{label}")}
                       for label in ("now", "before"))
        ratios = [now[experts] / before[experts] for experts in now if experts in before]
        return min(ratios) if ratios else None

    def large(self):
        off, on, auto = (self.large_rows(f"prefill_{assist}_now") for assist in ("off", "on", "auto"))
        for assist, rows in (("on", on), ("auto", auto)):
            what, target = f"prefill of many tokens, CPU {assist} against off", f"≥ {CPU_ON}"
            if off and rows:
                ratio = rows[0]["tokens_per_s"] / off[0]["tokens_per_s"]
                self.target(what, target, f"{ratio:.3f} of {off[0]['tokens_per_s']:,.0f} tok/s", ratio >= CPU_ON)
            else:
                self.target(what, target)
        rows = self.large_rows("fp32_auto_now")
        if not rows:
            self.target("fp32, CPU on, of the floor", f"≥ {OF_FLOOR}")
        for row in rows:
            fraction = row.get("fraction_of_floor")
            self.target(f"{row['num_experts']} experts, fp32, CPU on, of the floor", f"≥ {OF_FLOOR}",
                        "no figure" if fraction is None else f"{fraction:.3f}", (fraction or 0) >= OF_FLOOR)

    # ---- plans

    def planned(self, name):
        """{residency: row of ufm plan}"""
        rows, told = (os.path.join(self.folder, "plan", "rows", f"{name}.{end}") for end in ("jsonl", "list"))
        if not os.path.exists(rows) or not os.path.exists(told):
            return {}
        with open(told, encoding="utf-8") as text:
            return dict(zip(text.read().strip().split(","), read_rows(rows)))

    def plans(self):
        names = {"exact": "exact", "cpu_link": "link"}
        for case in self.whole("decode", "prefill", "exact", "cpu_link"):
            name = f"{names.get(case.stage, case.phase)}_{case.tokens}"
            row = self.planned(name).get(case.residency)
            way, speed = ((row or {}).get(f"{case.phase}_choice{what}") for what in ("", "_tokens_per_s"))
            if way is not None:
                yield case, row, ON if way == "cpu+link" else OFF, speed

    def plan(self):
        rows, short, far = [], 0, 0
        for case, row, choice, speed in self.plans():
            worth = case.speed(choice) / max(case.speed(OFF), case.speed(ON))
            error = speed / case.speed(AUTO) - 1
            short += worth < CHOICE
            far += abs(error) > SPEED
            rows.append((f"{case.stage}: {case.name}", f"{row['slots']} / {next(iter(case.rows[AUTO].values()))['slots']}",
                         choice[1], f"{worth:.3f}", f"{case.speed(AUTO):,.1f}", f"{speed:,.1f}", f"{error:+.1%}",
                         verdict(worth >= CHOICE and abs(error) <= SPEED)))
        if not rows:
            self.target("plan", f"its choice ≥ {CHOICE} of the better, tok/s within {SPEED:.0%}")
            return
        self.target(f"plan's choice, {len(rows)} cases", f"≥ {CHOICE} of the better", f"{short} not", not short)
        self.target("plan's tok/s against auto", f"within {SPEED:.0%}", f"{far} not", not far)
        print("## Plans\n")
        table(("case", "slots planned / measured", "choice", "of the better", "auto, tok/s", "planned", "error",
               "verdict"), rows)

    # ---- all

    def check(self):
        for stage, cases in self.cases.items():
            for case in cases:
                missing = [" ".join(way) for way in WAYS if way not in case.rows]
                if missing:
                    self.wrong.append(f"{stage}: {case.name}: no row of {', '.join(missing)}")
                off = sum(row["ids_off"] for rows in case.rows.values() for row in rows.values())
                if off:
                    self.wrong.append(f"{stage}: {case.name}: {off} ids that are not the trace's")
                slots = {row["slots"] for rows in case.rows.values() for row in rows.values()}
                if len(slots) > 1:
                    print(f"Slots differ between ways of {stage}: {case.name}: {sorted(slots)}.\n")

    def print_cases(self):
        for stage, cases in self.cases.items():
            if not cases:
                continue
            print(f"## {stage}: tok/s\n")
            rows = []
            for case in cases:
                if not case.whole():
                    continue
                least = LINK_EACH if stage == "cpu_link" else EACH
                chosen = next(iter(case.rows[AUTO].values()))["cpu_assist"]
                rows.append((case.name, *(f"{case.speed(way):,.1f}" for way in WAYS), f"{case.of_best():.3f}",
                             f"{case.ratio(AUTO, ('before', 'auto')):.3f}", f"{case.spread(AUTO, case.best()):.1%}",
                             *(f"{case.hits(way):.3f}" for way in (AUTO, OFF, ON)), chosen,
                             verdict(case.of_best() >= least)))
            table(("case", *(f"{assist}, {label}" for label, assist in WAYS), "auto of best", "of auto before",
                   "ratios apart", "hits auto", "off", "on", "auto is", "verdict"), rows)

    def print_all(self):
        self.check()
        self.print_cases()
        for part in (self.never_slower, self.hits, self.link, self.exact, self.large, self.plan, self.worse):
            part()
        print("## Targets\n")
        table(("what", "target", "measured", "verdict"), self.lines)
        tally = {word: sum(line[-1] == word for line in self.lines) for word in (MET, SHORT, NO_ROW)}
        print(", ".join(f"{count} {word}" for word, count in tally.items()) + ".")
        for rule in dict.fromkeys(self.wrong):
            print(f"BROKEN {rule}")
        return 1 if self.wrong else 0


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print("usage: tests/gpu/defaults_report.py RESULTS", file=sys.stderr)
        return 2
    return Report(sys.argv[1]).print_all()


if __name__ == "__main__":
    sys.exit(main())
