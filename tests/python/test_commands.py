# SPDX-License-Identifier: MIT
"""python -m ufm as a user meets it: what it prints, its exit codes, and its one line of what is wrong."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
pytest.importorskip("transformers", reason="not installed: transformers")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "python"))

import small_checkpoint  # noqa: E402

import ufm  # noqa: E402
from ufm.__main__ import main, parser  # noqa: E402
from ufm.commands import bench, cards, decoding, measure, outcome, table, weights  # noqa: E402

SMALL = ["--warmup", "2", "--steps", "3", "--prompt-tokens", "8", "--repeats", "1", "--decode-repeats", "1"]
RATES = ["--link-gbps", "25", "--hbm-gbps", "900"]


@pytest.fixture(scope="module", autouse=True)
def without_gpu():
    """What a GPU makes of all this is tested where there is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_checkpoint.make(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def broken(folder, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(folder, tmp_path / "broken"))


@pytest.fixture
def run(capsys):
    """Runs a command here; gives exit code, standard output and standard error."""

    def command(*argv):
        try:
            code = main([str(one) for one in argv])
        except SystemExit as ended:
            code = ended.code
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def one_line(err):
    """The only line of the standard error that is ours."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("ufm: ")]
    assert len(lines) == 1, err
    return lines[0]


# ---------------------------------------------------------------- help and usage


@pytest.mark.parametrize("command", [[], ["generate"], ["plan"], ["bench"]])
def test_help_fits_80_columns(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(*command, "--help")
    assert code == outcome.OK
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "exit codes:" in out and "interrupted" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "COMMAND"),
        (["run"], "invalid choice"),
        (["generate", "x"], "--prompt"),
        (["generate", "x", "--prompt", "a", "--vram", "8GB"], 'do you mean "8GiB"'),
        (["generate", "x", "--prompt", "a", "--vram", "1GiB", "--experts", "1GiB"], "not allowed with"),
        (["generate", "x", "--prompt", "a", "--experts", "200%"], "expected a percentage"),
        (["generate", "x", "--prompt", "a", "--max-new-tokens", "0"], "expected a whole number above 0"),
        (["generate", "x", "--prompt", "a", "--temperature", "nan"], "expected a number above 0"),
        (["generate", "x", "--prompt", "a", "--seed", "1"], "expected --sample"),
        (["plan", "x"], "--vram"),
        (["plan", "x", "--vram", "8GiB", "--card", "rtx-9"], "invalid choice"),
        (["plan", "x", "--vram", "8GiB", "--card", "l4", "--device", "cpu"], "a card is a GPU"),
        (["bench", "x", "--modes", "ufm,fast"], "found 'fast'"),
        (["bench", "x", "--experts", "8GiB,0"], "expected bytes"),
    ],
)
def test_wrong_usage(run, argv, said):
    code, out, err = run(*argv)
    assert (code, out) == (outcome.USAGE, "")
    assert said in err and "Traceback" not in err


# ---------------------------------------------------------------- what is missing, what is broken


@pytest.mark.parametrize("command", [["generate", "--prompt", "a"], ["plan", "--vram", "1MiB"], ["bench"]])
def test_no_checkpoint_there(run, tmp_path, command):
    code, out, err = run(command[0], tmp_path, *command[1:])
    assert (code, out) == (outcome.DATA, "")
    assert "no config.json there" in one_line(err)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "no_such_model"}'])
def test_a_broken_configuration(run, broken, text):
    (broken / "config.json").write_text(text)
    code, _, err = run("plan", broken, "--vram", "1MiB", *RATES)
    assert code == outcome.DATA
    assert str(broken) in one_line(err)


def test_a_torn_file(run, broken):
    os.truncate(broken / "model.safetensors", 3_000_000)
    code, _, err = run("generate", broken, "--prompt", "the sea")
    assert code == outcome.DATA
    assert str(broken) in one_line(err)


@pytest.mark.parametrize("gone", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file(run, broken, gone):
    (broken / gone).unlink()
    code, _, err = run("generate", broken, "--prompt", "the sea")
    assert code == outcome.DATA
    assert str(broken) in one_line(err)


def test_quantised_is_refused(run, broken):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    code, _, err = run("generate", broken, "--prompt", "the sea")
    assert code == outcome.DATA
    assert "quantised (fp8)" in one_line(err)


@pytest.mark.parametrize("command", [["generate", "--prompt", "a"], ["plan", "--vram", "1GiB"], ["bench"]])
def test_no_gpu(run, folder, command):
    code, _, err = run(command[0], folder, *command[1:], "--device", "cuda")
    assert code == outcome.ENVIRONMENT
    assert "torch finds no GPU" in one_line(err)


def test_torch_is_missing(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = run("bench", folder)
    assert code == outcome.ENVIRONMENT
    assert "torch cannot be imported" in one_line(err)


def test_no_budget_for_the_working_set(run, folder):
    code, _, err = run("generate", folder, "--prompt", "the sea", "--experts", "1KiB", "--device", "cpu")
    assert code == outcome.FAILED
    assert "at least" in one_line(err)


# ---------------------------------------------------------------- generate


def test_generate_streams_text_and_says_what_it_took(run, folder):
    code, out, err = run("generate", folder, "--prompt", "the sea", "--experts", "30%", "--max-new-tokens", "6")
    assert code == outcome.OK
    assert len(out.split()) == 6 and set(out.split()) <= {"<unknown>", *small_checkpoint.WORDS}
    lines = [line.removeprefix("ufm: ") for line in err.splitlines() if line.startswith("ufm: ")]
    for line, pattern in zip(
        lines,
        [
            r"loaded .* in .* s \(.* GB/s\)",
            r"prefill: 2 tokens at .* tok/s",
            r"decode: 6 tokens at .* tok/s",
            r"\d+ uses, \d+\.\d% hits",
            r"bytes: .* resident, .* over the link.*, 0 bytes by the CPU",
            r"device: \d+ slots for 128 experts .*",
        ],
        strict=True,
    ):
        assert re.fullmatch(pattern, line), line


def test_generate_as_json(run, folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("the old river\n"))
    given = [
        "--experts",
        "2MiB",
        "--max-new-tokens",
        "5",
        "-o",
        "json",
        "--sample",
        "--temperature",
        "0.7",
        "--seed",
        "4",
    ]
    code, out, err = run("generate", folder, "--prompt", "-", *given)
    found = json.loads(out)
    assert (code, found["tokens"], found["prompt_tokens"], found["interrupted"]) == (outcome.OK, 5, 3, False)
    assert found["hits"] <= found["uses"] and found["link_bytes"] > 0 and found["decode_tok_s"] > 0
    assert found["slots"] < found["experts"] == 128
    assert not [line for line in err.splitlines() if line.startswith("ufm: ")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("the old river\n"))
    assert json.loads(run("generate", folder, "--prompt", "-", *given)[1])["text"] == found["text"]


def test_generate_says_the_same_at_every_budget(run, folder):
    texts = {
        run("generate", folder, "--prompt", "a road", "--experts", e, "--max-new-tokens", "12")[1]
        for e in ("10%", "100%")
    }
    assert len(texts) == 1


def test_an_empty_prompt(run, folder):
    code, _, err = run("generate", folder, "--prompt", " ")
    assert code == outcome.USAGE
    assert "it is empty" in one_line(err)


def test_chat(run, folder, broken):
    code, _, err = run("generate", folder, "--prompt", "the sea", "--chat")
    assert code == outcome.DATA
    assert "no chat template" in one_line(err)
    template = "{% for m in messages %}old {{ m.content }} river{% endfor %}"
    (broken / "chat_template.jinja").write_text(template)
    code, out, _ = run("generate", broken, "--prompt", "the sea", "--chat", "--max-new-tokens", "2", "-o", "json")
    assert (code, json.loads(out)["prompt_tokens"]) == (outcome.OK, 4)


def test_ctrl_c_says_what_was_done(folder, start):
    argv = [sys.executable, "-m", "ufm", "generate", folder, "--prompt", "the sea", "--max-new-tokens", "100000"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "python"), "PYTHONUNBUFFERED": "1"}
    process = start(argv, stderr=subprocess.PIPE, env=env)
    process.stdout.read(1)  # the first word is there
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == outcome.INTERRUPTED
    assert "Traceback" not in err
    assert re.search(r"^ufm: interrupted after [1-9]\d* tokens$", err, re.M), err


def test_ctrl_c_while_loading(run, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ufm.models.loading.from_pretrained", interrupted)
    code, out, err = run("generate", folder, "--prompt", "the sea")
    assert (code, out) == (outcome.INTERRUPTED, "")
    assert "interrupted while loading" in one_line(err)


# ---------------------------------------------------------------- plan


def test_plan_for_a_card(run, folder):
    code, out, _ = run(
        "plan", folder, "--vram", "1GiB", "--card", "rtx-4090", "--context", "1000", "--batch", "3", "-o", "json"
    )
    found = json.loads(out)
    about = weights.measure(folder)
    assert (code, found["vram_bytes"]) == (outcome.OK, 1 << 30)
    assert found["expert_bytes"] == 128 * 3 * 128 * 64 * 2
    assert found["dense_bytes"] == about.dense_bytes
    assert found["cache_bytes"] == 3 * 1000 * 4 * 2 * 2 * 32 * 2  # layers, keys and values, heads, width, bytes
    used = found["context_bytes"] + found["dense_bytes"] + found["cache_bytes"] + found["reserve_bytes"]
    assert found["experts_budget_bytes"] == (1 << 30) - used
    assert found["slots"] == 128 and found["decode_tok_s"] > 0


def test_dense_and_experts_are_all_of_the_model(folder):
    about = weights.measure(folder)
    model = ufm.from_pretrained(folder, experts="30%")
    dense = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    (group,) = ufm.paging_of(model).groups
    assert about.dense_bytes == dense
    assert about.expert_bytes == group.bank.info.bank_bytes


def test_plan_as_text_fits_80_columns(run, folder):
    code, out, _ = run("plan", folder, "--vram", "2MiB", "--device", "cpu", *RATES)
    assert code == outcome.OK
    assert max(len(line) for line in out.splitlines()) <= 80
    for word in ("budget", "workspace", "slots for 128", "host memory", "decode", "prefill"):
        assert word in out
    assert "KV cache" not in out  # on the CPU the budget is for experts alone
    code, out, _ = run("plan", folder, "--vram", "1GiB", "--card", "h200", "--dram-gbps", "300")
    assert code == outcome.OK
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "KV cache" in out and "dense weights" in out and "h200" in out


def test_more_memory_is_not_slower(run, folder):
    found = [
        json.loads(run("plan", folder, "--vram", size, "--device", "cpu", "-o", "json", *RATES)[1])
        for size in ("1MiB", "2MiB", "12MiB")
    ]
    speeds = [each["decode_tok_s"] for each in found]
    assert speeds == sorted(speeds) and speeds[0] < speeds[-1]
    assert found[-1]["slots"] == 128


def test_a_budget_that_does_not_fit_says_what_would(run, folder):
    code, out, err = run("plan", folder, "--vram", "64MiB", "--card", "l4")
    assert (code, out) == (outcome.FAILED, "")
    assert re.search(r"does not hold .* of dense weights, .* of KV cache, .*: expected .* and what", one_line(err))
    code, out, err = run("plan", folder, "--vram", "16KiB", "--device", "cpu", *RATES)
    assert (code, out) == (outcome.FAILED, "")
    least = int(re.search(r"\((\d+) bytes\)", one_line(err))[1])
    assert run("plan", folder, "--vram", str(least), "--device", "cpu", *RATES)[0] == outcome.OK
    assert run("plan", folder, "--vram", str(least - 4096), "--device", "cpu", *RATES)[0] == outcome.FAILED


def test_plan_reads_no_weights(run, broken):
    (broken / "model.safetensors").unlink()
    assert run("plan", broken, "--vram", "2MiB", "--device", "cpu", *RATES)[0] == outcome.OK


def test_plan_without_experts(run, tmp_path):
    from transformers import Qwen3Config

    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(tmp_path)
    code, out, _ = run("plan", tmp_path, "--vram", "2GiB", "--card", "l4")
    assert code == outcome.OK
    assert "nothing is paged" in out


def test_cards_are_those_of_the_command():
    def number(text):
        names = {"PCIE_4": 31.5, "PCIE_4_X8": 15.8, "PCIE_5": 63.0}
        return names.get(text) or float(text)

    source = (ROOT / "cli" / "plan" / "cards.def").read_text()
    rows = re.findall(r'CARD\("([^"]+)", (\d+), (\d+), (\w+)\)', source)
    assert {name: (int(gib), float(memory), number(link)) for name, gib, memory, link in rows} == cards.CARDS
    parts = (ROOT / "cli" / "plan" / "cards.c").read_text()
    assert f"MEMORY_PART {cards.MEMORY_PART}" in parts and f"LINK_PART {cards.LINK_PART}" in parts
    for name, value in (("PCIE_4", 31.5), ("PCIE_4_X8", 15.8), ("PCIE_5", 63.0)):
        assert f"#define {name} {value}" in source


# ---------------------------------------------------------------- bench


def test_bench_runs_each_way(run, folder, tmp_path):
    code, out, err = run("bench", folder, "--modes", "ufm,resident,accelerate,stub", "--implementations", "batched_mm",
                         "--device", "cpu", "--out", tmp_path, *SMALL)  # fmt: skip
    rows = {row["mode"]: row for row in map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())}
    assert code == outcome.OK, err
    assert list(rows) == ["ufm", "resident", "accelerate", "stub"]
    assert rows["accelerate"]["status"] == "left out"
    for mode in ("ufm", "resident", "stub"):
        row = rows[mode]
        assert row["status"] == "ok"
        assert row["prefill"]["tok_s"] > 0 and len(row["prefill"]["seconds"]) == 1
        made = row["generate"]
        assert (made["warmup"], made["steps"]) == (2, 3) and made["tok_s"] > 0 and made["first_pass_tok_s"] > 0
        assert (
            row["host_peak_bytes"] >= row["load_host_peak_bytes"] > 0 and row["versions"]["torch"] == torch.__version__
        )
    # UFM's model says what the stock one says, and that without experts something else.
    assert rows["ufm"]["generate"]["tokens_crc32"] == rows["resident"]["generate"]["tokens_crc32"]
    assert rows["stub"]["generate"]["tokens_crc32"] != rows["resident"]["generate"]["tokens_crc32"]
    assert 0 < rows["ufm"]["generate"]["hit_rate"] < 1 and rows["ufm"]["slots"] < rows["ufm"]["expert_count"]
    assert rows["ufm"]["generate"]["counters"]["calls"] == 3 * 4  # the timed steps, of each layer
    assert out == (tmp_path / "table.md").read_text()
    assert re.search(r"^\| ufm 30% +\| +[\d.]+ \|", out, re.M) and "left out" in out


@pytest.fixture
def in_this_process(monkeypatch):
    """Ways without a process of their own, which takes seconds to start."""

    def way(job, out, timeout_s):
        row = {"status": "ok"}
        try:
            measure._run(job, row)
        except Exception as error:
            row |= measure._ended(error)
        return job | row

    monkeypatch.setattr(bench, "_way", way)


def test_a_way_that_fails_is_a_row(run, broken, in_this_process):
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    code, out, err = run("bench", broken, "--modes", "ufm", "-o", "jsonl", *SMALL)
    assert code == outcome.DATA
    row = json.loads(out)
    assert row["status"] == "failed" and row["why"] in err


def test_a_budget_that_is_too_small_is_a_result(run, folder, in_this_process):
    given = ["--modes", "ufm", "--experts", "1KiB,100%", "--device", "cpu", "-o", "jsonl", *SMALL]
    code, out, err = run("bench", folder, *given)
    small, whole = map(json.loads, out.splitlines())
    assert code == outcome.OK and small["status"] == "out of memory" and "ufm 1KiB: out of memory" in err
    assert (
        whole["slots"] == whole["expert_count"] and whole["generate"]["hit_rate"] > 0.9
    )  # slots fill as experts are first used


def test_a_process_that_dies_says_how(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    code, out, _ = run("bench", folder, "--modes", "stub", "-o", "jsonl", *SMALL)
    assert (code, json.loads(out)["why"]) == (outcome.FAILED, "ended with 1 and no result")
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -KILL $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    code, out, _ = run("bench", folder, "--modes", "stub", "-o", "jsonl", *SMALL)
    assert code == outcome.FAILED and "ended by SIGKILL" in json.loads(out)["why"]


def test_a_way_that_takes_too_long_is_ended(run, folder):
    code, out, _ = run("bench", folder, "--modes", "stub", "--timeout", "1", "-o", "jsonl", *SMALL)
    assert code == outcome.FAILED
    assert "--timeout 1 s" in json.loads(out)["why"]


def test_ctrl_c_keeps_what_was_run(run, folder, tmp_path, monkeypatch):
    def way(job, out, timeout_s):
        if job["mode"] == "stub":
            raise KeyboardInterrupt
        return job | {"status": "failed", "why": "for a test"}

    monkeypatch.setattr(bench, "_way", way)
    code, out, err = run("bench", folder, "--modes", "ufm,stub", "--out", tmp_path, *SMALL)
    assert code == outcome.INTERRUPTED
    assert "| ufm 30% " in out and "1 of 2 ways were run" in err and "Traceback" not in err
    assert out == (tmp_path / "table.md").read_text()
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 1


def test_which_ways_are_run():
    args = parser().parse_args(["bench", "x", "--experts", "8GiB,4GiB"])
    names = [bench.name_of(job) for job in bench.jobs(args, "cpu")]
    assert names == [
        "ufm 8GiB", "ufm 4GiB", "resident grouped_mm", "resident batched_mm",
        "accelerate 8GiB grouped_mm", "accelerate 4GiB grouped_mm", "stub",
    ]  # fmt: skip


class Fakes:
    """A clock that is set by hand."""

    now = 0.0

    def perf_counter(self):
        return self.now


def test_the_clock_times_what_comes_after_warm_up(monkeypatch):
    time, begun = Fakes(), []
    monkeypatch.setattr(decoding, "time", time)
    clock = decoding.Clock(warmup=2, steps=3, limit_s=100, started=lambda: begun.append(time.now))
    ended = []
    for tokens in range(1, 6):
        time.now = float(tokens)
        ended.append(clock.tick(tokens))
    assert ended == [False, False, False, False, True] and begun == [2.0]
    timed = clock.result([9] * 5)
    assert (timed.warmup, timed.steps, timed.seconds, timed.tok_s) == (2, 3, 3.0, 1.0)


def test_the_clock_ends_early(monkeypatch):
    time = Fakes()
    monkeypatch.setattr(decoding, "time", time)
    clock = decoding.Clock(warmup=100, steps=100, limit_s=10, started=lambda: None)
    tokens = 0
    while not clock.tick(tokens := tokens + 1):
        time.now += 1.0
    assert (clock.begin, clock.end) == (7, 13)  # half of the limit each, and the step that is then over


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory"),
        (RuntimeError("[enforce fail at alloc] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (ufm.errors.DeviceMemoryError("slab"), "out of memory"),
        (RuntimeError("shapes"), "failed"),
        (ufm.errors.FormatError("no header"), "failed"),
    ],
)
def test_what_counts_as_out_of_memory(error, status):
    assert measure._ended(error)["status"] == status


def test_a_phase_without_memory_is_named_in_the_table():
    row = {"directory": "d", "device": "cuda", "mode": "resident", "experts": None, "implementation": "eager"}
    row |= {
        "status": "ok",
        "prefill": {"status": "out of memory"},
        "generate": {"tok_s": 4567.8},
    }
    (line,) = [line for line in table.table([row]).splitlines() if line.startswith("| resident")]
    assert [cell.strip() for cell in line.split("|")[1:4]] == ["resident eager", "4568", "out of memory"]


def test_generate_without_experts(run, folder, tmp_path):
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    words = len(small_checkpoint.WORDS) + 1
    config = Qwen3Config(vocab_size=words, hidden_size=32, intermediate_size=32, num_hidden_layers=1, head_dim=16)
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    code, out, err = run("generate", tmp_path, "--prompt", "the sea", "--max-new-tokens", "3")
    assert (code, len(out.split())) == (outcome.OK, 3)
    assert "nothing is paged" in err
