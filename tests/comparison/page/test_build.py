"""The page is one file that fetches nothing, escapes names, and has the same bytes each time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from fake_records import save, write
from invented import HOSTILE, built, gathered, records

from zoo.comparison import guards
from zoo.comparison import page as room
from zoo.comparison.page import payload, pixels, series, shorten
from zoo.comparison.page.cautions import cautions
from zoo.comparison.page.pixels import BUDGET
from zoo.comparison.recommend.contest import DRAWS
from zoo.comparison.recommend.shortlist import FRONT, LIKELY, POSSIBLE, SURE
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import studies
from zoo.comparison.tuning import LEAST_CONFIGURATIONS
from zoo.record import Metric
from zoo.record.provenance import Protocol
from zoo.record.schema import Load

ROOT = Path(__file__).resolve().parents[3]


def unpacked(text: str, name: str) -> bytes:
    match = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    return gzip.decompress(base64.b64decode(match[1]))


@pytest.fixture(scope="module")
def text(page):
    return page.read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_escapes_names(text):
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert "<img src=x" not in text
    assert HOSTILE in json.loads(unpacked(text, "data"))["studies"][0]["rows"]["model"]


def test_the_policy_names_the_hashes_of_the_two_scripts_alone(text):
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    scripts.append(unpacked(text, "library").decode())
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert set(re.findall(r"sha256-([^&']*)", policy[1])) == hashes
    assert "default-src &#39;none&#39;" in policy[1]
    assert "connect-src" not in policy[1]


def test_the_same_runs_make_the_same_bytes(runs):
    assert built(runs) == built(runs)


def test_the_library_is_packed_and_its_notices_are_read_without_unpacking_it(text):
    about = json.loads(room.PLOTLY.with_name("vendored.json").read_text(encoding="utf-8"))
    library = unpacked(text, "library")
    assert hashlib.sha256(library).hexdigest() == about["sha256"]
    packed = re.search(r'id="library">(.*?)</script>', text)
    assert packed is not None
    assert base64.b64decode(packed[1])[4:8] == bytes(4), "no time of packing"
    assert library.decode()[-500:] not in text
    comment = re.search(
        r'<!--((?:(?!-->).)*)-->\n<script type="application/json" id="library">', text, re.DOTALL
    )
    assert comment is not None
    notices = ("Licensed under the MIT license", "polybooljs", "object-assign")
    for words in (about["package"], about["version"], about["sha256"], *notices):
        assert words in comment[1]


def test_the_script_has_the_constants_of_the_rules_in_python(text):
    for name, value in {
        "GUARD": guards.FACTOR, "FLOORS": guards.FLOORS, "DRAWS": DRAWS, "LIKELY": LIKELY,
        "POSSIBLE": POSSIBLE, "FRONT_SHARE": FRONT, "SURE": SURE, "ENOUGH_SEEDS": LEAST_SEEDS,
        "LEAST_CONFIGURATIONS": LEAST_CONFIGURATIONS, "MANY": pixels.MANY,
    }.items():  # fmt: skip
        assert [float(found) for found in re.findall(rf"\b{name} = ([\d.]+)", text)] == [value], name


def test_the_floor_of_a_column_is_a_number_and_a_text_with_its_deviation(text):
    columns = json.loads(unpacked(text, "data"))["studies"][0]["columns"]
    floors = {column["floor_text"]: column["floor"] for column in columns if column["floor"] is not None}
    assert floors == {"0.500 ± 0.050": 0.5}


def test_the_head_warns_of_load_devices_and_protocols_that_mix(tmp_path):
    assert cautions(gathered(records(tmp_path / "plain"))) == []
    for seed, (load, device, images) in enumerate(((1.0, "cpu", 100), (7.0, "cpu", 500), (9.4, "cuda", 500))):
        record = write(tmp_path / "mixed", "maf", "flow", seed=seed)
        record.sampling.load, record.sampling.device = Load(load, None, 2), device
        record.provenance.protocol = Protocol(5, {"samples": images, "likelihood": {"examples": 10}})
        record.provenance.protocol_hash = str(images)
        save(tmp_path / "mixed", record)
    assert json.loads(unpacked(built(tmp_path / "mixed"), "data"))["made"]["cautions"] == [
        "2 of 3 runs with a recorded load were timed on a busy machine (load 7 to 9 on 2 cores): their times "
        "may be too long by a factor.",
        "Speeds are of several devices (cpu 2 runs, cuda 1 run): compare them within one alone.",
        "2 protocols judged these runs, and values of two never compare; they differ in: 100 "
        "samples or 500 samples.",
    ]


def test_the_head_says_once_that_runs_are_of_an_older_zoo(tmp_path, monkeypatch):
    runs = gathered(records(tmp_path))
    first = runs[0].record.model
    old = [run for run in runs if run.record.model == first]
    monkeypatch.setitem(cautions.__globals__, "departure", lambda run: "Made." if run in old else "")
    (said,) = cautions(runs)
    assert said.startswith(f"{len(old)} of {len(runs)} runs were made by an older zoo: ")
    assert cautions(old)[0].startswith(f"All {len(old)} runs were made by an older zoo: ")


def test_a_collapse_by_recall_is_told_apart_from_one_by_distance(tmp_path):
    for model, distance, recall in (("maf", 5.0, 0.5), ("far", 400.0, 0.5), ("narrow", 5.0, 0.01)):
        record = write(tmp_path, model, "flow", fd=distance)
        record.metrics["recall/x"] = Metric(recall, "1", direction="higher")
        save(tmp_path, record)
    data = json.loads(unpacked(built(tmp_path), "data"))["studies"][0]
    reasons = {
        model: (row["collapsed"], row["collapsed_apart"])
        for model, row in zip(data["rows"]["model"], data["helper"]["rows"], strict=True)
    }
    assert reasons["maf"] == ("", "")
    assert "too far from the data" in reasons["far"][0]
    assert reasons["far"][1] == ""
    assert reasons["narrow"][0] == reasons["narrow"][1] != ""


def test_without_scripts_the_tables_and_verdicts_are_there(text):
    match = re.search(r"<noscript>(.*?)</noscript>", text, re.DOTALL)
    assert match is not None
    assert "pixelcnn" in match[1]


@pytest.mark.parametrize("folder", ["zoo/comparison/page/vendor", "tests/comparison/page/vendor"])
def test_a_vendored_library_is_the_one_that_its_list_names(folder):
    about = json.loads((ROOT / folder / "vendored.json").read_text(encoding="utf-8"))
    content = gzip.decompress((ROOT / folder / f"{about['file']}.gz").read_bytes())
    listed = json.loads((ROOT / "scripts" / "vendor.json").read_text(encoding="utf-8"))
    assert hashlib.sha256(content).hexdigest() == about["sha256"]
    assert about["integrity"] in {entry["integrity"] for entry in listed}
    assert (ROOT / folder / f"{about['package']}.LICENSE").read_text(encoding="utf-8")


def test_every_script_of_the_room_is_in_the_page():
    files = {path.stem for path in (room.HERE / "script").glob("*.js")}
    text = room.script_text(live=True)
    assert all((room.HERE / "script" / f"{name}.js").read_text(encoding="utf-8") in text for name in files)


def test_a_row_has_the_command_seeds_and_differences_of_its_runs(tmp_path):
    for seed, rate in ((0, 0.1), (1, 0.1), (0, 0.2)):
        record = write(tmp_path, "maf", "flow", seed=seed, key=f"-{rate}", value=1.5 + seed)
        record.provenance.config |= {"training": {"lr": rate, "updates": 7}}
        save(tmp_path, record)
    data = payload.facts(gathered(tmp_path))
    (study,) = data["studies"]
    strings = data["strings"]
    settings = [{strings[name]: strings[value] for name, value in row} for row in study["settings"]]
    assert sorted(row["training.lr"] for row in settings) == ["0.1", "0.2"]
    assert {name: strings[place] for name, place in study["shared"].items()} == {"training.updates": "7"}
    (bits,) = (column for column in study["columns"] if column["key"] == "bits_per_dim")
    assert sorted(map(tuple, bits["seeds"])) == [(1.5,), (1.5, 2.5)]
    assert data["runs"]["command"] == ["zoo train model=maf"] * 3


def test_a_long_curve_is_thinned_and_keeps_its_ends(tmp_path):
    write(tmp_path, "maf", "flow")
    (run,) = gathered(tmp_path)
    lines = ["updates,images_seen,wall_seconds,device_seconds,train/loss,val/loss"]
    lines += [f"{n},{32 * n},{n * n},{2 * n * n},{n},{1000 - n}" for n in range(1, 901)]
    (run.directory / "curves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (curve,) = series.curves_of([run])
    assert len(curve["updates"]) == series.POINTS
    assert (curve["updates"][0], curve["updates"][-1]) == (1, 900)
    assert curve["axes"]["images_seen"] == 32, "a multiple of the updates is stored as the factor"
    assert curve["axes"]["wall_seconds"][-1] == 810_000
    assert curve["curves"]["val/loss"][-1] == 100


def test_pictures_stay_within_their_budget(text):
    assert len(gzip.compress(unpacked(text, "pixels"))) < BUDGET


def test_answers_have_pictures_before_rows_that_stand_and_these_before_the_rest(tmp_path, monkeypatch):
    for model, key, distance in (("maf", "", 9.0), ("maf", "-best", 3.0), ("maf", "-worst", 12.0)):
        record = write(tmp_path, model, "flow", fd=distance, key=key, latency=0.004 * distance)
        record.provenance.config |= {"training": {"lr": 0.1 + len(key)}}
        save(tmp_path, record)
    for budget, drawn in ((0, ["-best"]), (1_500, ["-best", ""]), (BUDGET, ["-best", "", "-worst"])):
        monkeypatch.setattr(pixels, "BUDGET", budget)
        (study,) = studies(gathered(tmp_path))
        (found,) = pixels.pictures_of([study], pixels.Pixels())
        assert found is not None
        assert guards.key_of(study.baseline("maf")) == "maf"
        keys = dict(zip(map(guards.key_of, study.ordered), found["rows"], strict=True))
        assert {key for key, row in keys.items() if "samples" in row} == {f"maf{key}" for key in drawn}
        assert found["left"] == 3 - len(drawn)


def test_points_of_the_plane_are_shown_by_the_hundred(tmp_path):
    write(tmp_path, "maf", "flow", data="moons")
    (study,) = studies(gathered(tmp_path))
    store = pixels.Pixels()
    (found,) = pixels.pictures_of([study], store)
    assert found is not None
    assert found["rows"][0]["samples"]["count"] > 480, "of 500, those inside the frame of the real ones"
    assert found["real"]["count"] == 500
    real = np.frombuffer(store.bytes(), np.uint8)[found["real"]["at"] :][: 2 * 500].reshape(500, 2)
    (run,) = study.runs
    points = run.arrays("samples.npz")["real"].astype(float)
    low, high = points.min() - 0.5, points.max() + 0.5
    assert np.allclose(real / 255, (points - low) / (high - low), atol=0.002)


def test_no_raw_fraction_is_shown(tmp_path):
    told = "median: 2.097939481630467; seconds: 0.00042131245; atol: 1e-05; hash: a1.2345678"
    assert shorten.legible(told) == "median: 2.098; seconds: 0.0004213; atol: 1e-05; hash: a1.2345678"
    record = write(tmp_path, "maf", "flow", details={"median": 2.097939481630467})
    record.sampling.throughput = 128_312.0
    save(tmp_path, record)
    data = payload.facts(gathered(tmp_path))
    assert "median: 2.098" in " ".join(data["strings"]), "among all settings"
    assert "2.0979394" not in " ".join(data["strings"])
    texts = [text for column in data["studies"][0]["columns"] for text in column["text"]]
    assert "128,000" in texts
