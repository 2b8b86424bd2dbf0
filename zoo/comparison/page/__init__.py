"""The HTML page of a comparison: one file that fetches nothing.

The page holds the records' numbers as JSON, curves and pictures (:mod:`.payload`, :mod:`.series`,
:mod:`.pixels`, :mod:`.evidence`), packed by gzip under base64, and the scripts of ``script/``, which draw
tables and charts from them. Charts are Plotly's basic bundle (``vendor/``; ``make vendor`` packs it again),
which is in the page as packed as in ``vendor/``, and is unpacked and run after the table is painted.
The scripts are files that are read one after the other inside one function, in the order of :data:`SCRIPTS`.

A policy inside the page names the hashes of its own script and of the unpacked bundle, so that no other
script runs, and forbids every connection. A name from a record becomes text, never markup.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup, escape

from zoo import __version__
from zoo.comparison.claims.decision import Decision
from zoo.comparison.claims.render import LEAD, MARKS
from zoo.comparison.collect import Run
from zoo.comparison.figures.style import INK, PAPER
from zoo.comparison.page import answers, evidence, payload
from zoo.comparison.page.cautions import cautions
from zoo.comparison.page.pixels import Pixels, pictures_of
from zoo.comparison.page.runs import Published
from zoo.comparison.page.series import curves_of
from zoo.comparison.page.shorten import Strings
from zoo.comparison.studies import studies
from zoo.comparison.tables import Table
from zoo.comparison.templates import render
from zoo.config.declared import data_kinds

HERE = Path(__file__).parent
SCRIPTS = (
    "core", "data", "state", "statistics", "table", "drawer", "decide", "helper", "charts", "tradeoff",
    "curves", "more", "samples", "claims", "print", "main",
)  # fmt: skip
Part = Literal[  # ``templates/boxes.html`` has the element of each
    "controls", "chart", "legend", "count", "scroll", "more", "notes", "box", "said", "slider", "list",
    "rules",
]  # fmt: skip
PLOTLY = HERE / "vendor" / "plotly-basic.min.js.gz"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: its name.
        title: the heading.
        lead: a sentence below it.
        parts: its elements, each a box that a script fills.
        hidden: whether it is shown only where a script finds something for it.
    """

    id: str
    title: str
    lead: str
    parts: tuple[Part, ...] = ("controls", "chart")
    hidden: bool = False


SECTIONS = (
    Section(
        "slide",
        "The slide, measured",
        "The questions of the lecture, one row a family: yes or no by the rules of the ledger, and the "
        "number behind it. A cell opens its evidence.",
        ("box",),
    ),
    Section(
        "helper",
        "Which should I use?",
        "From what was measured here, and from nothing else: which configurations fulfil the constraints, "
        "why the others do not, how sure their order is, and which constraint to relax.",
        ("controls", "box"),
    ),
    Section(
        "tradeoff",
        "Trade-off",
        "What quality costs. Colour is the family, shape the kind of likelihood; crosses are one standard "
        "deviation over seeds. The dashed front is that of all configurations that the search and "
        "the filters leave; between likelihoods it keeps kinds apart. Its shade is the 25 % "
        "within which times differ by the load alone. Click a point to pin it, drag to pin several.",
        ("controls", "chart", "legend"),
    ),
    Section(
        "table",
        "The table",
        "A heading sorts, within a kind of likelihood; a number opens its origin; ★ pins, ▸ shows the seeds. "
        "Arrow keys move between the cells.",
        ("controls", "count", "scroll", "more", "notes"),
    ),
    Section(
        "samples",
        "Samples",
        "The same places of every model side by side.",
        ("controls", "box", "said", "slider"),
    ),
    Section(
        "curves",
        "Training",
        "The line is the mean, the band the least to the largest of the seeds, as far as all of them go.",
    ),
    Section(
        "scaling", "Scaling", "What happens when the batch or the data grow: slopes with 95 % intervals."
    ),
    Section(
        "stability",
        "Stability",
        "A point a seed: how much the outcome depends on luck, and how many runs were lost.",
    ),
    Section(
        "sharpness",
        "Sharpness",
        "Sharpness of samples read as blur: the line is what real images lose when they are blurred.",
        hidden=True,
    ),
    Section(
        "tuning",
        "Tuning",
        "The expected best after k configurations of those that were run, chosen by validation where all "
        "have the same criterion. The band is a jackknife's, drawn to a quarter of the configurations.",
        ("controls", "chart"),
        hidden=True,
    ),
    Section(
        "profile",
        "Across data",
        "On how many of the data sets of known density a model comes within τ of the truth. Each model is "
        "the configuration that stands for it.",
        ("controls", "chart", "box"),
        hidden=True,
    ),
    Section("claims", "The lecture's claims", MARKS, ("rules", "controls", "box"), hidden=True),
    Section("kinds", "How to read it", "", ("list",)),
)
KINDS = {
    "no mark": "exact: the log-likelihood is computed without approximation.",
    "†": "exact for the dequantised density, whose noise makes it a bound for the integer pixels.",
    "≤": "bound: the true value is at most this (a VAE's evidence bound). A bound below an exact value "
    "proves that its model is better; a bound above one proves nothing.",
    "≈": "estimate: an ODE solver at a tolerance, or a stochastic or truncated trace, stands between.",
    "—": "none: the family defines no likelihood, or the metric does not apply; click it for the reason.",
    "a, ab, b": "groups: configurations that share a letter cannot be told apart.",
    "filled": "the best for sure: everything else that is ranked is significantly worse.",
    "hatched": "not told apart from the best, and surely better than some other where the best is. One seed "
    "has no ranks; a row with a collapsed run is marked neither way, but for a sound likelihood.",
    "±": "standard deviation over [n] seeds; with one seed the standard error of the evaluation.",
}


def build(
    runs: Sequence[Run],
    tables: Sequence[Table],
    figures: Mapping[str, Path],
    decisions: Sequence[Decision] = (),
    warnings: Sequence[str] = (),
    published: Mapping[str, Sequence[Published]] | None = None,
    command: str = "",
) -> str:
    """Return the page of a comparison, self-contained and the same for the same runs.

    Args:
        runs: the compared runs.
        tables: their tables, for browsers without scripts.
        figures: PNG files by name; a drawing has an SVG file beside it, which browsers without scripts show.
        decisions: the ledger of claims.
        warnings: sentences about records that were left out.
        published: the published values of some runs, by the run's id.
        command: makes the page again; empty if nobody knows it.
    """
    facts, curves, pixels = contents(runs, decisions, warnings, published=published)
    measured = [decision for decision in decisions if decision.deciding]
    drawing = figures.get("speed_vs_quality")
    plain = render(
        "plain.html",
        tables=[table for table in tables if not table.beside],
        claims=[{"sentence": d.claim.sentence, "verdict": d.verdict, "data": d.data} for d in measured],
        drawing=_picture(drawing, "Speed against quality") if drawing else "",
    )
    names = list(dict.fromkeys(study["label"] for study in facts["studies"]))
    heading = f"zoo · {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return assembled(heading, facts, curves, pixels, Markup(plain), command=command)


def assembled(
    heading: str,
    facts: Mapping[str, Any],
    curves: Sequence[Mapping[str, Any]],
    pixels: bytes,
    plain: Markup | str = "",
    *,
    live: bool = False,
    command: str = "",
) -> str:
    """Return the page around its contents.

    Args:
        heading: title of the page.
        facts, curves, pixels: as :func:`contents` returns them.
        plain: what browsers without scripts show.
        live: whether the page fetches changes from the server that sent it.
        command: makes the page again; empty if nobody knows it.
    """
    script, library = script_text(live), _library()
    return render(
        "page.html",
        policy=policy([script, library], live),
        title=heading,
        heading=heading,
        runs=facts["made"]["runs"],
        version=__version__,
        command=command,
        sections=SECTIONS,
        kinds=KINDS,
        rules=LEAD,
        plain=plain,
        data=packed_json(facts),
        series=packed_json(curves),
        pixels=packed(pixels),
        script=Markup(script),
        library=base64.b64encode(PLOTLY.read_bytes()).decode(),
        vendored=json.loads(PLOTLY.with_name("vendored.json").read_text(encoding="utf-8")),
        notices=re.findall(r"/\*[*!].*?\*/", library, re.DOTALL),
    )


def contents(
    runs: Sequence[Run],
    decisions: Sequence[Decision] = (),
    warnings: Sequence[str] = (),
    strings: Strings | None = None,
    published: Mapping[str, Sequence[Published]] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]], bytes]:
    """Return the page's data, the curves of the runs, and the bytes of the pictures."""
    models = data_kinds()
    facts, compared, pixels = payload.facts(runs, strings, published), studies(runs), Pixels()
    for entry, study, shown in zip(facts["studies"], compared, pictures_of(compared, pixels), strict=True):
        entry["pictures"] = shown
        entry["sharpness"] = evidence.sharpness(study)
        entry["helper"] = answers.helper(study, models)
        entry["tuning"] = answers.tuning(study)
    facts["shipped"] = answers.shipped(models)
    facts["made"]["cautions"] = cautions(runs)
    facts["slides"] = answers.measured_slides(compared)
    facts["claims"] = evidence.ledger(decisions, compared)
    facts["warnings"] = list(warnings)
    return facts, curves_of(runs), pixels.bytes()


def packed(content: bytes) -> str:
    """Return bytes under gzip and base64, the same text each time; nothing for nothing."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode() if content else ""


def packed_json(value: Any) -> str:
    """Return a value as packed JSON."""
    return packed(json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode())


def script_text(live: bool = False) -> str:
    """Return the page's script: the files of :data:`SCRIPTS` inside one function."""
    names = (*SCRIPTS[:-1], *(["live"] if live else []), SCRIPTS[-1])
    parts = [(HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in names]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "})();\n"


@cache
def _library() -> str:
    """Return the text of Plotly's bundle."""
    return gzip.decompress(PLOTLY.read_bytes()).decode("utf-8")


def policy(scripts: Sequence[str], live: bool = False) -> str:
    """Return the policy that lets these scripts run and no other, and nothing be fetched.

    Styles may stand in the page, since Plotly adds its own. A live page may connect to its own server.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    connect = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"{connect}base-uri 'none'; form-action 'none'"
    )


def pictures(figures: Mapping[str, Path]) -> dict[str, str]:
    """Return figures as HTML fragments, by name."""
    return {name: _picture(file, name) for name, file in figures.items()}


def _picture(png: Path, title: str) -> Markup:
    """Return a drawing as SVG in the colours of the page, or a picture of pixels as it is."""
    svg = png.with_suffix(".svg")
    if not svg.exists():
        data = base64.b64encode(png.read_bytes()).decode()
        picture = '<figure class="pixels"><img alt="{}" src="data:image/png;base64,{}"></figure>'
        return Markup(picture).format(title, data)
    text = svg.read_text(encoding="utf-8")
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "var(--ink)").replace(PAPER, "var(--paper)")
    return Markup('<figure role="img" aria-label="{}">{}</figure>').format(escape(title), Markup(text))
