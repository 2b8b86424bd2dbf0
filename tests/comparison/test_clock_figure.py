"""The figure of runs with a budget of seconds."""

from __future__ import annotations

from zoo.comparison.collect import Run
from zoo.comparison.figures import clock
from zoo.record import Provenance, Record


def run(root, model, max_seconds, data="moons", column="val/nll"):
    directory = root / f"{model}-{data}"
    directory.mkdir()
    record = Record(
        run_id=directory.name, model=model, family="continuous flow", data=data, seed=0, status="finished",
        provenance=Provenance(config={"training": {"max_seconds": max_seconds}}),
    )  # fmt: skip
    rows = [f"{100 * i},{2 * i},{3 - i}" for i in range(4)]
    (directory / "curves.csv").write_text("\n".join([f"updates,update_seconds,{column}", *rows]) + "\n")
    return Run(record, directory)


def test_likelihoods_of_different_training_rules_share_an_axis_of_seconds(tmp_path):
    runs = [run(tmp_path, "ffjord", 60), run(tmp_path, "flow_matching", 60), run(tmp_path, "glow", None)]
    runs.append(run(tmp_path, "ffjord", 60, "digits", "val/bits_per_dim"))
    digits, moons, *_ = clock(runs).axes
    assert digits.get_title() == "validation bits/dim, digits"
    assert moons.get_title() == "validation nats/dim, moons"
    assert moons.get_xlabel() == "seconds of training"
    lines = {line.get_label(): line.get_xydata().tolist() for line in moons.lines}
    assert set(lines) == {"ffjord", "flow_matching"}, "a run without such a budget is not drawn"
    assert lines["ffjord"] == [[0, 3], [2, 2], [4, 1], [6, 0]]
    assert clock(runs[2:3]) is None
