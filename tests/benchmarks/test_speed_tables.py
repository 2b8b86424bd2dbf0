"""The tables of docs/speed.md say themselves which aims are reached, and stand in the page as committed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import gpu_speed
import ideas
import pytest
import speed_tables
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "speed.md"
HARDWARE = {"cpu": "a", "cpus": 2, "threads": 1, "load": 0.5}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    return tmp_path


def write(folder, name, rows, **more):
    record = {"hardware": HARDWARE, "date": "2026-12-02", "rows": rows} | more
    (folder / f"{name}.json").write_text(json.dumps(record))


def test_the_page_has_the_tables_as_committed():
    page = PAGE.read_text(encoding="utf-8")
    for name, table in speed_tables.TABLES.items():
        assert f"<!-- begin: results/benchmarks/{name} -->\n{table().strip()}\n<!-- end -->" in page, name


def test_an_overhead_of_a_tenth_is_a_miss(folder):
    rows = [{"case": str(ratio), "ratio": ratio, "ratio_to_keyed": 1.0} for ratio in (1.099, 1.1)]
    write(folder, "loop_overhead", rows)
    below, above = speed_tables.loop().splitlines()[2:]
    assert "| reached | a, 1 of 2 cores | 0.5 | 2026-12-02 |" in below
    assert "| **missed** |" in above


def test_a_first_update_has_two_aims_and_a_command_without_one_no_verdict(folder):
    seconds = {"python": (0.01, None), "import torch": (1.5, None), "first update": (3.6, 5.0)}
    rows = [{"command": name, "seconds": s, "aim_seconds": aim} for name, (s, aim) in seconds.items()]
    write(folder, "startup", rows)
    first, _, update, beyond = speed_tables.startup().splitlines()[2:]
    assert first == "| python | 0.01 | – | – | a, 1 of 2 cores | 0.5 | 2026-12-02 |"
    assert update.startswith("| first update | 3.60 | 5 | reached |")
    assert beyond.startswith("| the same, besides importing torch | 2.10 | 2 | **missed** |")


def gpu_row(batch, ratio, mode="eager", case="maf", task="sample", **more):
    about = {"case": case, "task": task, "batch": batch, "precision": "float32", "mode": mode}
    return about | {"ratios": {"zuko": ratio, "nflows": 2 * ratio}, "device": "GPU", "date": "today"} | more


def test_an_aim_on_a_gpu_needs_every_batch_in_its_best_mode():
    rows = [gpu_row(64, 25.0), gpu_row(1024, 4.0), gpu_row(1024, 21.0, mode="graphs")]
    (line,) = [x for x in speed_tables.gpu_aims(rows).splitlines() if x.startswith("| maf | sampling")]
    assert line == "| maf | sampling | 20 | 21 | reached | graphs, float32, batch 1024 | GPU, today |"
    lines = speed_tables.gpu_aims([gpu_row(64, 25.0), gpu_row(1024, 4.0)]).splitlines()
    assert "| maf | sampling | 20 | 4 | **missed** | eager, float32, batch 1024 | GPU, today |" in lines
    assert "| glow | density | 1.5 | – | not measured | – | – |" in lines


def test_what_no_command_has_measured_is_called_so(folder):
    for name in ("ddp", "startup", "quickstart", "ideas"):
        assert speed_tables.TABLES[f"speed/{name}.md"]() == "Not measured.\n"


def test_the_script_for_a_gpu_goes_its_way_on_a_cpu(monkeypatch):
    monkeypatch.setitem(
        gpu_speed.MODES, gpu_speed.COMPILED, ("graphs",)
    )  # not compiled here, which takes long
    monkeypatch.setattr(gpu_speed.cases, "PACKAGES", {"nflows": "nflows", "zuko": "no_such_package"})
    batches = {part: {"maf": (2,)} for part in gpu_speed.MODES}
    scale = gpu_speed.Scale(batches, product=64, copied=2**12, seconds=0.0, repeats=1)
    rows = list(gpu_speed.measure(gpu_speed.EAGER, "cpu", scale))
    assert rows[0]["case"] == "limits"
    assert {"float32", "bf16", "bytes"} < set(rows[0])
    reasons = {row.get("peer") or row["precision"]: row["skipped"] for row in rows if "skipped" in row}
    assert reasons["tf32"] == "TF32 is a format of NVIDIA's GPUs."
    assert reasons["zuko"].startswith("ModuleNotFoundError")
    measured = {(row["precision"], row["task"]): row for row in rows if "ratios" in row}
    assert set(measured) >= {("float32", task) for task in speed_tables.PASSES}
    one = measured["float32", "train"]
    assert set(one["ratios"]) == {"nflows"}
    assert (one["aim"], one["reached"], one["device"]) == (
        5.0,
        one["ratios"]["nflows"] >= 5,
        rows[0]["device"],
    )
    assert 0 < one["share_of_operations"] < 2
    _, *graphs = gpu_speed.measure(gpu_speed.COMPILED, "cpu", scale)
    assert "CUDA graphs need a GPU." in {row["skipped"] for row in graphs}
    late = list(gpu_speed.measure(gpu_speed.EAGER, "cpu", scale, minutes=-1.0))
    assert {row["skipped"] for row in late if "precision" in row} == {"The time was up."}


def test_operations_and_bytes_are_those_of_a_product():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert gpu_speed.work_of(lambda: a @ b) == (2 * 3 * 5 * 7, 4 * (3 * 5 + 5 * 7 + 3 * 7))


@pytest.mark.parametrize("idea", ideas.IDEAS, ids=lambda idea: idea.words)
def test_an_idea_is_compared_with_the_same_work_without_it(idea, monkeypatch):
    monkeypatch.setattr(ideas, "LEAST", 1)
    name, batch = min(idea.cases, key=lambda case: case[1])
    flow, x = ideas.flow(name, min(batch, 8))
    flow.module.eval()
    with torch.no_grad():
        expected = flow.log_prob(x)
        with (idea.off or contextlib.nullcontext)():
            torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-4, atol=1e-3)
    small = ideas.Idea(idea.words, idea.off, ((name, min(batch, 8)),), idea.tasks[:1])
    (row,) = ideas.measured(small, 0.0)
    low, high = row["interval"]
    assert low <= row["off_over_on"] <= high
    assert row["says"] == ("less time" if low > 1 else "more time" if high < 1 else "no difference seen")


def test_compiled_steps_and_graphs_are_those_of_torchs_compiler(monkeypatch):
    asked = []
    monkeypatch.setattr("torch.compile", lambda function, **more: asked.append(more) or function)
    flows, _, x = gpu_speed.flows("maf", 2, "cpu")
    for kind in ("compiled", "graphs"):
        for run in gpu_speed.jobs(flows["zoo"], x, "cpu", gpu_speed.PRECISIONS["bf16"], kind).values():
            run()
    assert asked == [{}, {}, {"mode": "reduce-overhead"}, {"mode": "reduce-overhead"}], "a loss, a density"
