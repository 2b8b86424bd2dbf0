"""The ledger as a terminal table, Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.comparison.claims.figures import name
from zoo.comparison.claims.ledger import LEAST, LEVEL, Decision
from zoo.comparison.collect import Run

COLOURS = {"supported": "green", "not supported": "red", "undecided": "yellow"}
LEAD = (
    "Each sentence with the measurement that decides it. A claim is supported when every one of its deciding tests finds "
    f"the claimed direction, not supported when one finds the opposite, and undecided otherwise: tests are two-sided at "
    f"{LEVEL:.0%} over training seeds, at least {LEAST} a side, and not corrected for there being many claims. "
    "What is compared has one data set and one protocol; verdicts are about the models and budgets that were run."
)


def terminal(decisions: Sequence[Decision], console: Console) -> None:
    """Print a row for each claim, and below each undecided one what it lacks."""
    table = Table(title="Claims", box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    for heading in ("claim", "data", "verdict", "n", "measured"):
        table.add_column(heading, overflow="fold")
    for decision in decisions:
        verdict = f"[{COLOURS[decision.verdict]}]{decision.verdict}[/]"
        first = next((part for part in decision.parts if part.decides), None)
        n = first.n if first else "0"
        table.add_row(
            escape(decision.claim.sentence),
            escape(decision.data),
            verdict,
            escape(n),
            escape(decision.measured),
        )
    console.print(table)


def verdicts(decisions: Sequence[Decision]) -> str:
    """The table of verdicts in Markdown, without a heading."""
    lines = ["| claim | data | verdict | n |", "|---|---|---|---|"]
    for decision in decisions:
        n = "; ".join(dict.fromkeys(part.n for part in decision.parts if part.decides))
        lines.append(
            f"| {_md(decision.claim.sentence)} | {_md(decision.data)} | **{decision.verdict}** | {_md(n) or '0'} |"
        )
    return "\n".join(lines) + "\n"


def markdown(decisions: Sequence[Decision], figures: Mapping[str, Path], out: Path) -> str:
    """A table of verdicts, then a section for each claim."""
    lines = ["# Claims", "", LEAD, "", verdicts(decisions).rstrip()]
    for decision in decisions:
        lines += [
            "",
            f"## {_md(decision.claim.sentence)}",
            "",
            f"**{decision.verdict}** on {_md(decision.data)}.",
            "",
        ]
        for part in decision.parts:
            test = f" *{_md(part.test)}; n = {_md(part.n)}.*" if part.test else ""
            role = f" ({part.verdict})" if part.decides else ""
            lines.append(f"- {_md(part.sentence)}{role}{test}")
        lines += [f"- {_md(lack)}" for lack in (*decision.lacks, *decision.untold)]
        if name(decision) in figures:
            picture = figures[name(decision)].with_suffix(".svg").relative_to(out)
            lines += ["", f"![{_md(decision.claim.sentence)}]({picture.as_posix()})"]
        if decision.runs:
            lines += ["", f"Runs: {', '.join(f'`{run.record.run_id}`' for run in decision.runs)}"]
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def csv_text(decisions: Sequence[Decision]) -> str:
    """One line for each measurement, nothing rounded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["claim", "sentence", "data", "protocol", "verdict", "measured", "decides", "finding", "test", "n",
         "estimate", "low", "high", "p", "runs"]
    )  # fmt: skip
    for decision in decisions:
        head = [
            decision.claim.key,
            decision.claim.sentence,
            decision.data,
            decision.protocol,
            decision.verdict,
        ]
        for part in decision.parts:
            o = part.outcome
            numbers = ["", "", "", ""] if o is None else [repr(v) for v in (o.estimate, o.low, o.high, o.p)]
            runs = " ".join(run.record.run_id for run in part.runs)
            finding = part.verdict if part.decides else ""
            writer.writerow([*head, part.sentence, part.decides, finding, part.test, part.n, *numbers, runs])
        for lack in decision.lacks:
            writer.writerow([*head, lack, True, "undecided", "", "0", "", "", "", "", ""])
        for lack in decision.untold:
            writer.writerow([*head, lack, False, "", "", "0", "", "", "", "", ""])
    return stream.getvalue()


def overview(decisions: Sequence[Decision]) -> str:
    """The verdicts alone as HTML, each with a link to its article."""
    rows = "".join(
        f'<tr><td><a href="#{name(d)}">{html.escape(d.claim.sentence)}</a></td><td>{html.escape(d.data)}</td>'
        f'<td><span class="verdict {d.verdict}">{d.verdict}</span></td></tr>'
        for d in decisions
    )
    head = "<tr><th tabindex=0>claim</th><th tabindex=0>data</th><th tabindex=0>verdict</th></tr>"
    return (
        "<h2 id=verdicts>The lecture's claims</h2><div class=scroll>"
        f"<table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    )


def section(decisions: Sequence[Decision], pictures: Mapping[str, str]) -> str:
    """The ledger as a part of a page; ``pictures``: HTML by the decision's name."""
    return f'<p class="lead">{html.escape(LEAD)}</p>' + "".join(_article(d, pictures) for d in decisions)


def _article(decision: Decision, pictures: Mapping[str, str]) -> str:
    sentences = []
    for part in decision.parts:
        style = "" if part.decides else " class=beside"
        finding = f" <b>{part.verdict}</b>" if part.decides else ""
        sentences.append(f"<p{style}>{html.escape(part.sentence)}{finding}</p>")
        if part.test:
            sentences.append(f"<p class=test>{html.escape(part.test)}; n = {html.escape(part.n)}</p>")
    lacks = [f"<p class=beside>{html.escape(lack)}</p>" for lack in (*decision.lacks, *decision.untold)]
    runs = ", ".join(html.escape(_origin(run)) for run in decision.runs)
    records = f"<details><summary>{len(decision.runs)} records</summary>{runs}</details>" if runs else ""
    return (
        f"<article id={name(decision)}><h3>{html.escape(decision.claim.sentence)} "
        f'<span class="verdict {decision.verdict}">{decision.verdict}</span></h3>'
        f"<p class=beside>{html.escape(decision.data)}</p>{''.join(sentences + lacks)}"
        f"{pictures.get(name(decision), '')}{records}</article>"
    )


def _origin(run: Run) -> str:
    record = run.record
    commit = str(record.provenance.get("git_commit") or "")[:10]
    return f"{record.run_id}" + (f" ({commit})" if commit else "")
