"""``zoo recommend`` in this process, on the committed records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.cli.units import count, duration, memory

RESULTS = str(Path(__file__).parents[2] / "results/quickstart/records")


def test_the_answer_has_cards_reasons_and_what_would_change_it(capsys) -> None:
    assert main(["recommend", RESULTS, "--likelihood", "exact", "--latency", "10ms"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("digits: exact likelihood, one sample in at most 10 ms; decided by fd/digits-cnn")
    assert "1. maf" in text
    assert "zoo train" in text
    assert re.search(r"pixelcnn: one sample takes [\d.]+ ms > 10 ms", text)
    assert "What would change it" in text
    assert "zoo sweep families data=digits evaluation.time_limit_seconds=1 model=" in text


def test_text_fits_a_narrow_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["recommend", RESULTS, "--latency", "1ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "zoo train" not in line and "zoo sweep" not in line) <= 100


def test_no_survivor_is_an_answer_too(capsys) -> None:
    assert main(["recommend", RESULTS, "--latency", "1us"]) == 0
    text = capsys.readouterr().out
    assert "No measured configuration fulfils the constraints." in text


def test_json_has_the_whole_answer(capsys) -> None:
    assert main(["recommend", RESULTS, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (block,) = answer["blocks"]
    assert block["cards"][0]["name"] == "gan"
    assert len(block["cards"]) + len(answer["excluded"]) == 10


def test_each_kind_of_likelihood_has_a_block_of_its_own(capsys) -> None:
    assert main(["recommend", RESULTS, "--density", "1", "--fidelity", "0"]) == 0
    text = capsys.readouterr().out
    headings = ["Exact likelihood", "Exact for the dequantised", "A bound of", "An estimate of"]
    places = [text.index(f"\n{heading}") for heading in headings]
    assert places == sorted(places)
    assert text.count("How sure: ") == 4
    assert "lost 0 of 1 run, 95 % interval 0 to 98 %" in text


def test_a_mistake_is_one_sentence(capsys) -> None:
    assert main(["recommend", RESULTS, "--data", "mnist"]) == 2
    sweep = "zoo sweep families data=mnist seed=0,1,2"
    sentence = "zoo: No run is on the data set 'mnist'; the records have digits."
    assert capsys.readouterr().err == f"{sentence} To measure it: {sweep}\n"
    with pytest.raises(SystemExit) as stop:
        main(["recommend", RESULTS, "--latency", "10"])
    assert stop.value.code == 2
    assert (
        "'10' must be a number with a unit (us, ms, s, min, h, d), such as 10ms or 2h"
        in capsys.readouterr().err
    )


def test_units() -> None:
    assert (duration("10ms"), duration("1.5 h"), memory("4GB"), count("2M")) == (0.01, 5400.0, 4e9, 2e6)
