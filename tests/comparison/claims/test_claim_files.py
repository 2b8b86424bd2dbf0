"""The ledger's files, its figures, and its part of the comparison's page."""

from __future__ import annotations

import csv
import functools
import io
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from simulated_runs import DISTANCE, around, gan, judged, simulate
from simulated_studies import blur, coupling, rates, scaling

from zoo.cli import main
from zoo.comparison import compare
from zoo.comparison.claims import decide
from zoo.comparison.claims.evidence import SUPPORTED
from zoo.comparison.claims.panels import Lines
from zoo.comparison.claims.render import measured_text
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.collect import Run
from zoo.comparison.commands import claims
from zoo.comparison.figures import ledger
from zoo.comparison.figures.style import canvas
from zoo.comparison.power import detectable
from zoo.comparison.studies import studies
from zoo.record import Cost, DataDescription, Metric, Provenance, Record, Sampling, SamplingOrder
from zoo.sweep import plan_sweep


def everything() -> list[Run]:
    truncated = gan({"model.truncation": 0.7}, distance=around(3), precision=around(0.9))
    return [*rates(1.0, 0.1), *blur(0.4), *scaling(lambda d: d), *truncated]


# one seed of a few models, which decides nothing
FEW = [
    *gan(seeds=1, distance=4.0),
    *simulate("vae", "vae", seeds=1, distance=8.0, bits=1.9, kind="lower bound"),
    *simulate("realnvp", "flow", seeds=1, distance=6.0, bits=2.0),
]


def write(runs: list[Run], folder: Path) -> Path:
    for index, run in enumerate(runs):
        run.record.write(folder / str(index))
    return folder


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    return console.file.getvalue()


@dataclass(frozen=True)
class Ledger:
    """The ledger of many runs: what was printed, and the folders of the runs and of the files."""

    runs: list[Run]
    folder: Path
    out: Path
    printed: str


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Ledger:
    """Return the ledger of everything, made once; the ids of its runs hold what HTML must escape."""
    place, runs = tmp_path_factory.mktemp("ledger"), everything()
    for index, run in enumerate(runs):
        run.record.run_id += f"-{index}<b>"
    console = Console(file=io.StringIO(), width=200)
    assert claims([write(runs, place / "runs")], place / "out", console=console) == 0
    return Ledger(runs, place / "runs", place / "out", printed(console))


def test_every_claim_is_in_every_file(made):
    rows = list(csv.DictReader((made.out / "claims.csv").open()))
    assert {row["claim"] for row in rows} == {one.key for one in all_claims()}
    for one in all_claims():
        assert one.sentence[:30] in made.printed
        assert f"## {one.sentence}" in (made.out / "claims.md").read_text()
        assert f"| {one.sentence} |" in (made.out / "verdicts.md").read_text()
        assert one.sentence.replace("'", "&#39;") in (made.out / "claims.html").read_text()


def test_the_csv_file_has_every_number_of_a_measurement(made):
    rows = list(csv.DictReader((made.out / "claims.csv").open()))
    row = next(row for row in rows if row["claim"] == "vae-blurry")
    part = judged("vae-blurry", made.runs).parts[0]
    numbers = [float(row[name]) for name in ("estimate", "low", "high", "p")]
    assert numbers == [part.outcome.estimate, part.outcome.low, part.outcome.high, part.outcome.p]
    assert row["n"] == "3"
    assert row["finding"] == SUPPORTED
    assert float(row["p_decides"]) == part.p
    assert float(row["detectable"]) == detectable(part.outcome) > 1
    assert row["exploratory"] == "True", "the runs have no date"
    assert row["runs"].split() == [run.record.run_id for run in part.runs]
    assert any(row["measured"].startswith("Undecided: needs") and row["n"] == "0" for row in rows)


def test_what_comes_from_records_is_escaped_on_the_page(made):
    page = (made.out / "claims.html").read_text()
    assert "-0&lt;b&gt;" in page
    assert "-0<b>" not in page


def test_the_page_holds_its_figures_and_fetches_nothing(made):
    page = (made.out / "claims.html").read_text()
    assert page.count("<svg") >= 3
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    pictures = re.findall(r"\]\((.*?)\)", (made.out / "claims.md").read_text())
    assert pictures
    assert all((made.out / picture).exists() for picture in pictures)


def test_the_same_records_make_the_same_files(made, tmp_path, console):
    claims([made.folder], tmp_path, console=console)
    files = [file.relative_to(made.out) for file in made.out.rglob("*") if file.is_file()]
    assert len(files) > 8
    for file in files:
        assert (made.out / file).read_bytes() == (tmp_path / file).read_bytes()


def test_what_is_missing_beside_is_reported_in_the_files(tmp_path, console):
    runs = [*gan(distance=around(3)), *gan({"training.betas": [0.5, 0.99]}, distance=around(9, salt=1))]
    claims([write(runs, tmp_path / "runs")], tmp_path / "out", console=console)
    line = "Beside it, not measured: oscillation of the distance of samples"
    for name in ("claims.html", "claims.md", "claims.csv"):
        assert line in (tmp_path / "out" / name).read_text()
    assert judged("momentum-off", runs).verdict == SUPPORTED
    assert line not in measured_text(judged("momentum-off", runs))


def test_a_legend_covers_no_curve():
    curves = [(f"model {i}", "flow", [1.0, 10.0], [1.0, 10.0 + i]) for i in range(9)]
    figure = canvas(4.7, 2.6)
    axis = figure.subplots()
    ledger.draw_panel(axis, Lines("D", "seconds", curves))
    figure.draw_without_rendering()
    assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1
    assert axis.get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_runs_that_decide_nothing_say_what_is_missing(tmp_path, console):
    claims([write(FEW, tmp_path / "runs")], None, console=console)
    text = " ".join(printed(console).split())
    assert text.count("Undecided: needs") == len(all_claims())
    assert "zoo sweep claims_digits" in text


def test_the_command_imports_no_torch(tmp_path):
    write(FEW, tmp_path / "runs")
    command = f"from zoo.cli import main; main(['claims', {str(tmp_path / 'runs')!r}])"
    code = f"import sys; {command}; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False False")
    assert main(["claims", str(tmp_path / "nowhere")]) == 2


def test_the_comparison_starts_without_scipy():
    code = "import sys, zoo.comparison.claims; print('scipy' in sys.modules, 'jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_comparison_has_the_claims_that_its_runs_decide(tmp_path, console):
    runs = [*blur(0.4, spread=0.02), *coupling()[:3]]
    compare([write(runs, tmp_path / "runs")], tmp_path / "out", console=console)
    page = (tmp_path / "out/index.html").read_text()
    assert "The lecture&#39;s claims" in page or "The lecture's claims" in page
    assert "VAEs are blurry." in page
    assert "Truncating" not in page
    compare([write(FEW, tmp_path / "others")], tmp_path / "more", console=console)
    assert "VAEs are blurry." not in (tmp_path / "more/index.html").read_text()


FAMILIES = {
    **dict.fromkeys(("gan", "wgan", "wgan_gp", "sngan", "stylegan"), "gan"),
    **dict.fromkeys(("vae", "vae_hierarchical"), "vae"),
    **dict.fromkeys(("pixelcnn", "pixelcnn_pp"), "autoregressive"),
    **dict.fromkeys(("ffjord", "flow_matching"), "continuous flow"),
    "diffusion": "diffusion",
}
ORDERS: dict[str, SamplingOrder] = {
    **dict.fromkeys(("pixelcnn", "pixelcnn_pp", "maf", "nsf_autoregressive", "tarflow"), "sequential"),
    **dict.fromkeys(("ffjord", "flow_matching", "diffusion", "residual_flow"), "solver"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lacking"), [("claims_digits", {"matching-efficient"}), ("claims_mnist", {"autoregressive"})]
)
def test_the_shipped_sweeps_leave_no_claim_without_its_runs(name, lacking):
    """Records of all jobs, as if they had run: only the runs of other sweeps are missing."""
    source = random.Random(0)
    draw = functools.partial(source.lognormvariate, 0, 0.1)
    runs = []
    for job in plan_sweep(name, [], None).jobs:
        identity = job.identity
        side = identity.config["data"].get("side") or 8
        names = (DISTANCE, "bits_per_dim", "sharpness", "precision/x", "recall/x")
        channels = identity.config["model"].get("channels") or [64]
        record = Record(
            run_id=identity.run_id,
            model=identity.model,
            data=identity.data,
            seed=identity.seed,
            family=FAMILIES.get(identity.model, "flow"),
            status="finished",
            metrics={key: Metric(draw(), "1", n=100) for key in names},
            sampling=Sampling(
                order=ORDERS.get(identity.model, "parallel"), latency_seconds=draw(), sequential_evaluations=8
            ),
            cost=Cost(parameters=10 * channels[0], updates=1),
            provenance=Provenance(
                config=identity.config,
                data=DataDescription(shape=[1, side, side]),
                config_hash_without_seed=identity.config_hash_without_seed,
                protocol_hash=repr(identity.config["evaluation"]),
            ),
        )
        runs.append(Run(record, Path("nowhere")))
    keys = {d.claim.key for d in decide(runs) if any(missing.decides for missing in d.missing)}
    assert keys == lacking
    for study in studies(runs):
        if study.baseline("gan") and len(study.runs) > 60:
            assert study.baseline("gan").settings["training.r1"] == 1.0
            assert study.baseline("realnvp").settings["training.lr"] == 0.002
            assert study.baseline("ffjord").settings["model.channels"] == [64, 64]
            assert not study.baseline("flow_matching").settings["training.max_seconds"]
