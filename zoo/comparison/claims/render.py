"""The ledger as a terminal table, Markdown and CSV, and as the parts of an HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.comparison.claims.measure import LEAST
from zoo.comparison.claims.statistics import LEVEL
from zoo.comparison.claims.verdict import UNDECIDED, Decision, Part

COLOURS = {"supported": "green", "not supported": "red", "undecided": "yellow"}
LEAD = (
    "Each sentence with the measurement that decides it. A claim is supported when every one of its deciding "
    "tests finds the claimed direction, not supported when one finds the opposite, and undecided otherwise: "
    f"tests are two-sided at {LEVEL:.0%} over training seeds, at least {LEAST} a side, and not corrected for "
    "there being many claims. What is compared has one data set and one protocol; verdicts are about the "
    "models and budgets that were run."
)
CLAIM_COLUMNS = ("claim", "sentence", "data", "protocol", "verdict")
PART_COLUMNS = ("measured", "decides", "finding", "test", "n")
OUTCOME_COLUMNS = ("estimate", "low", "high", "p")


def missing_text(decision: Decision) -> list[str]:
    """Return what a verdict lacks: a sentence for each set of commands that would bring it."""
    needs: dict[tuple[str, ...], list[str]] = {}
    for missing in decision.missing:
        if missing.decides:
            needs.setdefault(decision.commands(missing), []).append(missing.needs)
    lead = "Undecided: needs" if decision.verdict == UNDECIDED else "Not measured:"
    return [f"{lead} {'; '.join(own)}: {_run_text(commands)}." for commands, own in needs.items()]


def missing_beside_text(decision: Decision) -> list[str]:
    """Return what is missing and would not change the verdict: a sentence for each measurement."""
    return [
        f"Beside it, not measured: {missing.needs}: {_run_text(decision.commands(missing))}."
        for missing in decision.missing
        if not missing.decides
    ]


def _run_text(commands: Sequence[str]) -> str:
    """Return the command that makes the runs, then the one that gives them beside the others, if any."""
    return "run " + " and give its runs too, ".join(f"`{command}`" for command in commands)


def measured_text(decision: Decision) -> str:
    """Return the deciding measurements, then what is missing for a verdict."""
    return " ".join([*(part.sentence for part in decision.deciding), *missing_text(decision)])


def terminal(decisions: Sequence[Decision], console: Console) -> None:
    """Print a row for each claim: verdict, number of values, measurements and what is missing."""
    table = Table(title="Claims", box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    for heading in ("claim", "data", "verdict", "n", "measured"):
        table.add_column(heading, overflow="fold")
    for decision in decisions:
        n = next((part.n for part in decision.deciding), "0")
        verdict = f"[{COLOURS[decision.verdict]}]{decision.verdict}[/]"
        cells = map(escape, (decision.claim.sentence, decision.data, n, measured_text(decision)))
        sentence, data, n, measured = cells
        table.add_row(sentence, data, verdict, n, measured)
    console.print(table)


def verdicts(decisions: Sequence[Decision]) -> str:
    """Return the table of verdicts in Markdown, without a heading."""
    lines = ["| claim | data | verdict | n |", "|---|---|---|---|"]
    for decision in decisions:
        n = "; ".join(dict.fromkeys(part.n for part in decision.deciding)) or "0"
        sentence, data = _md(decision.claim.sentence), _md(decision.data)
        lines.append(f"| {sentence} | {data} | **{decision.verdict}** | {_md(n)} |")
    return "\n".join(lines) + "\n"


def markdown(decisions: Sequence[Decision], figures: Mapping[str, Path], out: Path) -> str:
    """Return the ledger in Markdown: the table of verdicts, then a section for each claim.

    Args:
        decisions: the ledger.
        figures: the picture of each decision that has one, by its name.
        out: the directory that links are relative to.
    """
    lines = ["# Claims", "", LEAD, "", verdicts(decisions).rstrip()]
    for decision in decisions:
        sentence = _md(decision.claim.sentence)
        lines += ["", f"## {sentence}", "", f"**{decision.verdict}** on {_md(decision.data)}.", ""]
        lines += [f"- {_part_text(part)}" for part in decision.parts]
        lines += [f"- {_md(text)}" for text in (*missing_text(decision), *missing_beside_text(decision))]
        if decision.name in figures:
            picture = figures[decision.name].with_suffix(".svg").relative_to(out)
            lines += ["", f"![{sentence}]({picture.as_posix()})"]
        if decision.runs:
            lines += ["", f"Runs: {', '.join(f'`{run.record.run_id}`' for run in decision.runs)}"]
    return "\n".join(lines) + "\n"


def _part_text(part: Part) -> str:
    finding = f" ({part.verdict})" if part.decides else ""
    test = f" *{_md(part.test)}; n = {_md(part.n)}.*" if part.test else ""
    return f"{_md(part.sentence)}{finding}{test}"


def _md(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def csv_text(decisions: Sequence[Decision]) -> str:
    """Return one line for each measurement, nothing rounded, and one for each sentence on what is missing."""
    columns = [*CLAIM_COLUMNS, *PART_COLUMNS, *OUTCOME_COLUMNS, "runs"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for decision in decisions:
        claim = {
            "claim": decision.claim.key,
            "sentence": decision.claim.sentence,
            "data": decision.data,
            "protocol": decision.protocol,
            "verdict": decision.verdict,
        }
        writer.writerows(claim | _csv_line(part) for part in decision.parts)
        for text in missing_text(decision):
            writer.writerow(claim | {"measured": text, "decides": True, "finding": UNDECIDED, "n": "0"})
        for text in missing_beside_text(decision):
            writer.writerow(claim | {"measured": text, "decides": False, "n": "0"})
    return stream.getvalue()


def _csv_line(part: Part) -> dict[str, Any]:
    line = {
        "measured": part.sentence,
        "decides": part.decides,
        "finding": part.verdict if part.decides else "",
        "test": part.test,
        "n": part.n,
        "runs": " ".join(run.record.run_id for run in part.runs),
    }
    if part.outcome is not None:
        line |= {key: repr(getattr(part.outcome, key)) for key in OUTCOME_COLUMNS}
    return line


def section(decisions: Sequence[Decision], pictures: Mapping[str, str]) -> str:
    """Return the ledger as HTML; ``pictures`` holds the HTML of each decision's figure, by its name."""
    return _template("section.html", decisions=decisions, pictures=pictures, lead=LEAD)


def _template(file: str, **values: Any) -> str:
    """Return a template beside this file filled with values, which are escaped."""
    from zoo.comparison import page

    return page.render(file, missing=missing_text, missing_beside=missing_beside_text, **values)
