"""The HTML page of a comparison, a self-contained file. Its templates, style and script are beside this."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zoo.comparison.collect import Run
from zoo.comparison.figures.style import INK, PAPER
from zoo.comparison.page.provenance import provenance
from zoo.comparison.tables import Cell, Row, Table

HERE = Path(__file__).parent
FIGURES = {  # heading and explanation of each
    "samples": (
        "Samples",
        "The first samples of every model, drawn with the protocol's seed, beside real test data.",
    ),
    "densities": (
        "Densities",
        "The data's histogram, then every model's density on the same scale; below each its divergence, "
        "NLL - entropy, in nats. Of several configurations of a model it is the nearest one.",
    ),
    "speed_vs_quality": (
        "Speed against quality",
        "Towards the lower left is better: fast and close to real data.",
    ),
    "sampling_vs_batch": (
        "Sampling against batch",
        "Seconds of one call (the latency at batch 1), and how many passes of a network wait for one another "
        "in it: medians over seeds, of the configuration that stands for each model.",
    ),
    "curves": (
        "Learning curves",
        "Likelihoods share an axis; other criteria cannot, so each has its own. "
        "Of very many runs, one of each configuration or model is drawn.",
    ),
    "clock": (
        "Against the clock",
        "Runs with a budget of seconds: likelihood against time spent in updates.",
    ),
}
KINDS = {
    "plain": "exact: the log-likelihood is computed without approximation.",
    "†": "exact for the dequantised density, whose noise makes it a bound for the integer pixels.",
    "≤": "bound: the true value is at most this (a VAE's evidence bound).",
    "≈": "estimate: an ODE solver at a tolerance, or a stochastic or truncated trace, stands between.",
    "—": "none: the family defines no likelihood, or the metric does not apply; the notes say why.",
}


def build(
    runs: Sequence[Run],
    tables: Sequence[Table],
    figures: Mapping[str, Path],
    claims: tuple[str, str] = ("", ""),
) -> str:
    """Return the page of a comparison. Pictures are inside it, so that it fetches nothing.

    Args:
        runs: the compared runs.
        tables: their tables.
        figures: PNG files by name; a drawing has an SVG file beside it.
        claims: two HTML fragments, the table of verdicts and the articles behind them.
    """
    verdicts, articles = claims
    shown = {name: about for name, about in FIGURES.items() if name in figures}
    links = {"verdicts": "The lecture's claims"} if verdicts else {}
    links |= {anchor(table): table.title for table in tables if not table.beside}
    links |= {name: title for name, (title, _) in shown.items()}
    links |= {"kinds": "How to read it", "provenance": "Provenance"}
    protocols = {run.record.provenance.protocol_hash for run in runs}
    return render(
        "page.html",
        title="Generative models, compared",
        run_count=len(runs),
        model_count=len({run.record.model for run in runs}),
        protocols="one protocol" if len(protocols) == 1 else f"{len(protocols)} settings of the protocol",
        links=links,
        verdicts=Markup(verdicts),
        tables=tables,
        figures=[
            {"name": name, "title": title, "lead": lead, "picture": _picture(figures[name], title)}
            for name, (title, lead) in shown.items()
        ],
        claims=Markup(articles),
        failed=[run.record for run in runs if run.record.status != "finished"],
        kinds=KINDS,
        provenance=[(name, _quick_to_open(facts)) for name, facts in provenance(runs)],
        anchor=anchor,
        origins=origins,
        sortable=sortable,
    )


def shell(title: str, body: str) -> str:
    """Return a whole page around an HTML fragment."""
    return render("shell.html", title=title, body=Markup(body))


def render(template: str, **values: Any) -> str:
    """Return a template filled with values, which are escaped unless they are markup.

    Templates lie in this directory and beside the claims.
    """
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js"))
    return _environment().get_template(template).render(style=style, script=script, **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader([HERE, HERE.parent / "claims"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
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
    return Markup('<figure role="img" aria-label="{}">{}</figure>').format(title, Markup(text))


def anchor(table: Table) -> str:
    """Return a table's title in the characters that a link may hold."""
    return re.sub(r"[^\w-]+", "-", table.title).strip("-")


def sortable(cell: Cell) -> bool:
    """Whether a column is sorted by the cell's value; otherwise it is sorted by the text."""
    return bool(cell.kind) or cell.text in ("—", "")


def origins(row: Row) -> str:
    """Return where the runs of a row come from, a line for each."""
    return "\n".join(map(_origin, row.runs))


def _origin(run: Run) -> str:
    record, source = run.record, run.record.provenance
    facts = [f"seed {record.seed}", record.status]
    if source.config_hash:
        facts.append(f"config {source.config_hash[:10]}")
    if source.git_commit:
        facts.append(f"commit {source.git_commit[:10]}")
    if command := source.command or " ".join(source.overrides or []):
        facts.append(command)
    return " · ".join(facts)


def _quick_to_open(facts: str) -> Markup:
    """Return JSON with its quotation marks as they are: escaped, they would be a third of the page."""
    return Markup(html.escape(facts, quote=False))
