"""``zoo show``: numbers, curves and samples of one run as text."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "comparison"))
from fake_records import save, write, write_toy

from zoo.cli import main
from zoo.cli.show import show_run, sparkline
from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import collect
from zoo.comparison.terminal import half_blocks, tiled
from zoo.config.identities import Identities
from zoo.record import Hardware, Metric

RECORDS = Path(__file__).resolve().parents[2] / "results/quickstart/records"


def shown(directory: Path, **settings) -> str:
    text = io.StringIO()
    show_run(directory, console=Console(file=text, width=80, **settings))
    return text.getvalue()


def test_a_run_is_shown_with_its_numbers_curves_and_samples(tmp_path: Path) -> None:
    record = write(tmp_path, "vae", "vae", "lower bound", value=1.5)
    text = shown(tmp_path / record.run_id)
    assert "vae-digits-s0  finished" in text
    assert "125,088 parameters · 1,000 updates · trained in 20 s" in " ".join(text.split())
    assert "≤ 1.500 ± 0.012 bits/dim" in text
    assert re.search(r"validation loss +█", text)
    assert "samples" in text
    assert "zoo train model=vae" in text
    assert max(map(len, text.splitlines())) <= 80


def test_metrics_and_curves_have_the_words_of_the_tables_not_their_raw_names(tmp_path: Path) -> None:
    record = write(tmp_path, "realnvp", "flow")
    record.metrics |= {
        "log_det_error": Metric(1e-5, "nats"),
        "invertibility/float32": Metric(2e-4, "levels"),
        "mine/a_b": Metric(1.0, "1"),
    }
    text = shown(save(tmp_path, record))
    for words in (
        "log-det error",
        "inversion error, float32",
        "mine/a_b",
        "validation bits/dim",
        "training loss",
    ):
        assert words in text
    assert not {"log_det_error", "invertibility", "val/", "train/"} & {*re.findall(r"[\w]+/?", text)}
    assert not any(line != line.rstrip() for line in text.splitlines()[:12])


def test_the_machine_and_the_clusters_job_of_a_run_are_shown(tmp_path: Path) -> None:
    record = write(tmp_path, "vae", "vae", "lower bound", value=1.5)
    record.provenance.hardware = Hardware(accelerator="H100", accelerators=8, driver="550.54.15")
    record.provenance.host, record.provenance.job = "node7", "Slurm 812_3"
    text = " ".join(shown(save(tmp_path, record)).split())
    assert "8 x H100, driver 550.54.15 · host node7 · job Slurm 812_3" in text


def test_an_archive_and_a_directory_list_their_runs_and_show_one(tmp_path: Path, capsys) -> None:
    root = tmp_path / "runs"
    for seed in range(2):
        write(root, "maf", "flow", seed=seed)
    packed = tmp_path / "records.tar.xz"
    pack_runs(collect([root])[0], packed)
    for path, what in ((root, "a directory"), (packed, "an archive")):
        assert main(["show", str(path)]) == 0
        text = capsys.readouterr().out
        assert f"{path} is {what} of 2 runs; name one, such as: zoo show {path} maf-digits-s0" in text
        assert "\n  maf-digits-s1\n" in text
        assert main(["show", str(path), "maf-digits-s1"]) == 0
        assert "maf (flow) on digits, seed 1" in capsys.readouterr().out
        assert main(["show", str(path), "maf-digits-s7"]) == 2
        assert "did you mean maf-digits-s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("maf", ["maf-digits-s0-c8d5ab964f", "maf-digits-s1-c8d5ab964f"]),  # of its own model, in order
        ("maf-digits-s1", ["maf-digits-s1-c8d5ab964f", "maf-digits-s0-c8d5ab964f"]),  # the hash left out
        ("vea-digits", ["vae-digits-s0-c8d5ab964f", "vae-digits-s1-c8d5ab964f"]),  # and a slip
    ],
)
def test_a_wrong_name_names_the_nearest_of_many_runs(tmp_path: Path, capsys, wrong, meant) -> None:
    for model in (*(f"a{number}" for number in range(40)), "maf", "vae"):  # too many to list
        for seed in range(2):
            write(tmp_path, model, "flow", seed=seed, key="-c8d5ab964f")
    assert main(["show", str(tmp_path), wrong]) == 2
    assert f"called '{wrong}'; did you mean {' or '.join(meant)}" in capsys.readouterr().err


def test_the_command_names_a_directory_without_a_record(tmp_path: Path, capsys) -> None:
    assert main(["show", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("zoo: There is no record at ")


def test_a_failed_run_says_why_and_names_are_not_markup(tmp_path: Path) -> None:
    record = write(tmp_path, "maf", "flow", status="diverged")
    record.reason = "Training diverged [bold]here[/bold]."
    text = shown(save(tmp_path, record))
    assert "[bold]here[/bold]" in text


def test_a_run_of_other_defaults_is_shown_with_the_command_that_makes_it_again(tmp_path: Path) -> None:
    (run,) = (run for run in collect([RECORDS])[0] if run.record.model == "glow")
    source = run.record.provenance
    then = Identities().of((*source.overrides, "training.weight_decay=0.25"))
    source.config, source.config_hash = then.config, then.config_hash
    text = shown(save(tmp_path, run.record))
    assert "Made by an older zoo: this command trains" in text
    assert text.splitlines()[-2:] == [
        "With the defaults of its time, which makes the same run today:",
        f"{source.command} training.weight_decay=0.25",
    ]


def test_a_metric_without_a_value_says_why(tmp_path: Path) -> None:
    record = write(tmp_path, "gan", "gan", "none", value=None)
    reason = "There are no weights, " + "and no column is as wide as this reason is long, " * 3
    record.metrics["fid"] = Metric(None, "1", reason=reason)
    text = shown(save(tmp_path, record))
    assert f"no fid: {reason.strip()}" in " ".join(text.split())
    names = [line.split("  ")[0] for line in text.splitlines()]
    assert "fd/digits-cnn ↓" in names, "names are whole beside a long reason"


def test_the_density_of_a_toy_is_drawn_beside_the_data(tmp_path: Path) -> None:
    record = write_toy(tmp_path, "maf", 0.1)
    assert "density of the model, and the data" in shown(tmp_path / record.run_id)


@pytest.mark.parametrize(
    ("values", "line"),
    [([1.0, 2.0], "▁█"), ([3.0, 3.0, 3.0], "▁▁▁"), ([0.0, float("nan"), 7.0], "▁ █"), ([float("nan")], " ")],
)
def test_a_sparkline_spans_the_finite_values(values: list[float], line: str) -> None:
    assert sparkline(values, 8) == line


def test_a_long_curve_is_averaged_to_the_width() -> None:
    assert sparkline([0.0, 2.0, 8.0, 6.0], 2) == "▁█"


def test_a_character_holds_two_pixels() -> None:
    picture = np.zeros((3, 2, 1))
    picture[0, 0], picture[1, 1], picture[2, 0] = 1.0, 1.0, 0.5
    first, second = half_blocks(picture)
    assert [str(span.style) for span in first.spans] == [
        "rgb(255,255,255) on rgb(0,0,0)",
        "rgb(0,0,0) on rgb(255,255,255)",
    ]
    assert str(second.spans[0].style) == "rgb(128,128,128) on rgb(0,0,0)"
    assert [line.plain for line in half_blocks(picture, coloured=False)] == ["▒▒", "░ "]


def test_tiles_keep_their_order() -> None:
    images = np.arange(1, 4).reshape(3, 1, 1, 1) * np.ones((1, 1, 2, 2))
    picture = tiled(images, 2)[..., 0]
    assert picture.shape == (5, 5)
    np.testing.assert_array_equal(picture[[0, 0, 3], [0, 3, 0]], [1, 2, 3])
