# SPDX-License-Identifier: MIT
"""The table of the peers' rows, with ratios to rows of `ufm bench`."""
import json
import os


def speed(row):
    """Tokens over the time of all steps; rows of earlier builds give the median step's instead."""
    if "tokens_per_s_median" in row:
        return row["tokens_per_s"]
    return row["batch"] * row["seq"] * len(row["step_ms"]) / sum(row["step_ms"]) * 1e3


def rows_beside(folders, args):
    """Rows of ufm by (label, experts); a folder of another geometry is an error."""
    found = {}
    for folder in folders:
        with open(os.path.join(folder, "runs.jsonl"), encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        for row in rows:
            wanted = (args.d_model, args.d_hidden, args.top_k, args.tokens, args.dtype)
            seen = (row["d_model"], row["d_hidden"], row["top_k"], row["batch"] * row["seq"], row["dtype"])
            if seen != wanted:
                raise SystemExit(f"bench/peers: {folder}: d_model, d_hidden, top_k, tokens, dtype are {seen}, "
                                 f"expected {wanted}")
            if row["mode"] == "ufm" and row["status"] == "ok":
                label = "ufm, link and CPU" if row.get("cpu_threads") else "ufm"
                found[label, row["num_experts"]] = speed(row)
    return found


def ratio(beside, label, row):
    ufm = beside.get((label, row["num_experts"]))
    return f"{ufm / row['tokens_per_s']:.2f}" if ufm and row["tokens_per_s"] else ""


def table(rows, beside):
    labels = sorted({label for label, _ in beside})
    head = ["peer", "experts", "status", "tokens/s", "step ms", "steps", "peak GiB", "streamed a step", "error"]
    head += [f"{label} / peer" for label in labels]
    lines = ["| " + " | ".join(head) + " |", "|---|--:|---|" + "--:|" * (len(head) - 3)]
    for row in rows:
        cells = [row["mode"], row["num_experts"], row["status"]]
        if row["status"] == "ok":
            peak = row["peak_vram_bytes"]
            cells += [f"{row['tokens_per_s']:,.0f}", f"{row['step_ms_median']:,.1f}", row["steps"],
                      f"{peak / 2**30:.2f}" if peak is not None else "",
                      f"{row['streamed_uses'] / row['steps']:.1f}", f"{row['max_error']:.1e}"]
        else:
            cells += [""] * 6
        cells += [ratio(beside, label, row) for label in labels]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    notes = [f"- {row['mode']}, {row['num_experts']} experts: {row['error']}" for row in rows if row["error"]]
    return "\n".join(lines + [""] * bool(notes) + notes) + "\n"
