"""Size, build time, first paint and interactions of pages, in headless Chromium.

The pages of 100 and 2,000 records are of made-up ones: twelve models on five data sets, many configurations,
five seeds, with curves and samples, each as large as a real record. They are built without the figures beside
them. Those of the claims and the toys are made by the whole of ``zoo compare RECORDS -o DIR`` from the
records in ``results/``, with galleries, densities, tables and figures; its start is in the seconds. An
interaction is timed inside the page, from the change of its state until the frame with the new table is out
(charts follow in frames of their own), and until everything is drawn; medians over repetitions. Needs
Chromium.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), *(str(ROOT / "tests/comparison" / part) for part in ("", "page"))]
from browser import Browser, Tab  # noqa: E402
from common import write  # noqa: E402
from compare_records import REAL, filled  # noqa: E402
from fake_records import NINE  # noqa: E402
from fake_records import write as write_record  # noqa: E402
from table import COMMITTED  # noqa: E402

from zoo.comparison import claims, page  # noqa: E402
from zoo.comparison.collect import collect  # noqa: E402
from zoo.comparison.tables import build  # noqa: E402

COUNTS, SEEDS, REPEATS = (100, 2000), 5, 7
DATA = ("digits", "digits:16", "digits:32", "photos", "faces")
MORE = {
    "glow_wide": "glow",
    "stylegan": "gan",
    "diffusion": "flow_matching",
}  # models, and what they resemble
INTERACTIONS = {
    "sort": "zoo.set({sort: zoo.state.sort === 'latency' ? 'bits_per_dim' : 'latency'})",
    "search": "zoo.set({query: zoo.state.query ? '' : 'glow'})",
    "filter a family": "zoo.set({hidden: zoo.state.hidden.length ? [] : ['flow']})",
    "other columns": "zoo.set({group: zoo.state.group === 'samples' ? 'cost' : 'samples'})",
    "all configurations": "zoo.set({rows: zoo.state.rows === 'all' ? 'models' : 'all'})",
    "other data": "zoo.set({study: zoo.studyData().studies[zoo.state.study.startsWith('digits~') + 0].id})",
    "open a number": "zoo.set({open: zoo.state.open ? '' : `${zoo.visible()[0].id}|latency`})",
    "constrain the helper": "zoo.set({latency: zoo.state.latency ? '' : '10 ms'})",
}
TIMED = """(async () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const times = [], whole = [];
  for (let i = 0; i < REPEATS + 1; i++) {
    await frame();
    const begun = performance.now();
    CHANGE;
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - begun);
    await zoo.idle();
    whole.push(performance.now() - begun);
  }
  return [times.slice(1), whole.slice(1)];
})()"""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def records(root: Path, count: int) -> None:
    """Write ``count`` runs of twelve models on five data sets; one in fifty diverged."""
    names = [*NINE, *MORE]
    for index in range(count):
        seed, rest = index % SEEDS, index // SEEDS
        data, rest = DATA[rest % len(DATA)], rest // len(DATA)
        model, number = names[rest % len(names)], rest // len(names)
        family, kind, value, distance, latency, evaluations, details = NINE[MORE.get(model, model)]
        shift = 0.01 * number + 0.003 * seed
        record = write_record(
            root, model, family, kind, None if value is None else value + shift, seed,
            "diverged" if index % 50 == 49 else "finished", distance + shift, details, f"-c{number}",
            latency * (1 + shift), evaluations, data if data == "digits" else "digits",
        )  # fmt: skip
        old = root / record.run_id
        record.data, record.run_id = data, f"{record.run_id}-{data.replace(':', '-')}"
        record.provenance = filled(record.provenance, REAL.provenance)
        record.provenance.config = {**REAL.provenance.config, "training": {"lr": 1e-3 * (1 + number)}}
        record.provenance.data = None
        record.cost = filled(record.cost, REAL.cost)
        if record.status == "finished":
            record.sampling = filled(record.sampling, REAL.sampling)
            record.metrics = REAL.metrics | record.metrics
        old.rename(root / record.run_id)
        record.write(root / record.run_id)


def interactions(tab: Tab) -> dict[str, list[float]]:
    """Return the median milliseconds of each interaction: until the table is drawn, and everything."""
    medians = {}
    for name, change in INTERACTIONS.items():
        tab.evaluate("location.hash = ''; window.scrollTo(0, 0)")
        tab.settle()
        script = TIMED.replace("REPEATS", str(REPEATS)).replace("CHANGE", change)
        medians[name] = [round(statistics.median(times), 1) for times in tab.evaluate(script)]
    return medians


def looked_at(file: Path, browser: Browser) -> dict[str, Any]:
    """Return a page's size, the median of its first paints, and the milliseconds of its interactions.

    Raises:
        AssertionError: if the page complained in the browser.
    """
    paints, took = [], {}
    for attempt in range(3):
        tab = browser.open(file)
        paints.append(tab.evaluate(FIRST_PAINT))
        took = interactions(tab) if attempt == 2 else {}
        assert not tab.complaints, tab.complaints
        tab.close()
    return {
        "megabytes": round(file.stat().st_size / 1e6, 2),
        "first_paint_ms": round(statistics.median(paints)),
        "interactions_ms": took,
    }


def made_up(folder: Path, count: int) -> dict[str, Any]:
    """Write the page of ``count`` made-up records; return the seconds that building it took."""
    with mock.patch.object(os, "fsync"):  # temporary files need not be safe on the disk
        records(folder / "runs", count)
    begun = time.perf_counter(), time.process_time()
    runs, _ = collect([folder / "runs"])
    text = page.build(runs, build(runs), {}, claims.decide(runs))
    seconds, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    (folder / "index.html").write_text(text, encoding="utf-8")
    return {"records": len(runs), "build_seconds": round(seconds, 1), "build_cpu_seconds": round(cpu, 1)}


def committed(folder: Path, source: str) -> dict[str, Any]:
    """Write the page of committed records by ``zoo compare``; return the seconds that the command took."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "zoo", "compare", str(ROOT / source), "-o", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "records": len(collect([ROOT / source])[0]),
        "source": source,
        "compare_seconds": round(seconds, 1),
        "compare_cpu_seconds": round(cpu, 1),
    }


def main() -> None:
    rows: list[dict[str, Any]] = []
    for make, of in [(made_up, count) for count in COUNTS] + [
        (committed, source) for source in COMMITTED.values()
    ]:
        with tempfile.TemporaryDirectory() as folder, Browser() as browser:
            row = make(Path(folder), of) | looked_at(Path(folder) / "index.html", browser)
            print(json.dumps(row), flush=True)
            rows.append(row)
    if "--dry-run" not in sys.argv:
        write("dashboard", rows)


if __name__ == "__main__":
    main()
