"""The ledger as a terminal table, Markdown and CSV, and as the parts of an HTML page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from zoo.comparison import templates
from zoo.comparison.claims import registry
from zoo.comparison.claims.decision import LEAST_KINDS, ROBUST, Decision, margins
from zoo.comparison.claims.evidence import EQUIVALENT, REFUTED, SUGGESTIVE, SUPPORTED, UNDECIDED, Claim, Part
from zoo.comparison.claims.wording import ends, p_text
from zoo.comparison.power import POWER, detectable
from zoo.comparison.render import md
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, holm
from zoo.comparison.tables import number

COLOURS = {
    SUPPORTED: "green",
    REFUTED: "red",
    EQUIVALENT: "cyan",
    SUGGESTIVE: "magenta",
    UNDECIDED: "yellow",
}
MARKS = (
    f"● kept by {ROBUST:.0%} or more of the other reasonable tests, of {LEAST_KINDS} kinds or more; ○ kept "
    "by fewer, or it rests on a time that was not measured again in turns, or the distance extrapolated to "
    f"infinitely many samples does not keep it; ◌ fewer than {LEAST_KINDS} kinds of other tests were made; "
    "no mark: undecided, or by construction. Exploratory: the rule is younger than records of the verdict."
)
LEAD = (
    "Each sentence with the measurement that decides it. A claim is supported when every one of its deciding "
    "tests finds the claimed direction, not supported when one finds the opposite (after Holm's correction "
    "over its parts), equivalent when the effect is surely within the claim's margin, suggestive when "
    "Holm's correction over the whole ledger undoes the decision, and undecided otherwise. Tests are "
    f"two-sided at {LEVEL:.0%} over training seeds, at least {LEAST_SEEDS} a side, and about these test "
    "images; whether a verdict about a distance holds for others is among the tests of its robustness. A "
    f"filled circle (●) marks a verdict that {ROBUST:.0%} or more of the other reasonable tests keep, of "
    f"{LEAST_KINDS} kinds or more, each kind counting once. A hollow one (○) marks one that fewer keep, that "
    "rests on a time which was not measured again in turns, or an equivalence that the distance "
    "extrapolated to infinitely many samples does not keep; a dotted one (◌) one of which fewer than "
    f"{LEAST_KINDS} kinds of other tests could be made. Exploratory: the rule is younger than records that "
    "the verdict rests on. What is compared has one data set and one protocol; verdicts are about the models "
    "and budgets that were run."
)
CLAIM_COLUMNS = (
    "claim", "sentence", "data", "protocol", "verdict", "raw_verdict", "exploratory", "claim_p", "holm_p",
    "robustness", "limitation",
)  # fmt: skip
PART_COLUMNS = ("measured", "decides", "finding", "test", "n", "p_decides", "detectable")
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


def badge(decision: Decision) -> str:
    """Return the verdict as it is shown, after a circle: filled, hollow or dotted.

    It is hollow if something stands against the verdict (:attr:`.Decision.hollow`), and dotted if too few
    kinds of other tests were made to tell. A suggestive verdict has what it suggests in brackets.
    """
    circle = "○ " if decision.hollow else "◌ " if decision.thin else "● "
    circle = "" if decision.raw == UNDECIDED or decision.by_construction else circle
    return circle + decision.verdict + (f" ({decision.raw})" if decision.verdict == SUGGESTIVE else "")


def standing(decision: Decision) -> str:
    """Return what kind of evidence a verdict rests on."""
    registered = bool(decision.deciding) and not decision.exploratory
    return ", ".join(["registered"] * registered + cautions(decision))


def cautions(decision: Decision) -> list[str]:
    """Return what the evidence that a verdict rests on is short of, each in a few words."""
    kinds = ["exploratory"] if decision.exploratory else []
    kinds += [decision.stage] if decision.stage else []
    kinds += ["by construction"] if decision.by_construction else []
    kinds += [decision.limitation.name] if decision.limitation else []
    return kinds + list(dict.fromkeys(part.caution for part in decision.deciding if part.caution))


def evidence_text(decision: Decision) -> str:
    """Return the claim's p-values, its robustness, its standing and its limitation as one sentence."""
    texts = []
    if decision.tested and decision.p is not None and decision.adjusted is not None:
        adjusted = p_text(decision.adjusted)
        texts.append(f"{p_text(decision.p)}, after Holm's correction over the ledger {adjusted}")
    if decision.robustness is not None:
        shares = ", ".join(_kind_text(kind, names) for kind, names in decision.kept_kinds.items())
        texts.append(f"kept by {decision.robustness:.0%} of other tests, each kind counting once ({shares})")
    if decision.seeds_asked is not None:
        stage = f"{decision.stage}; " * bool(decision.stage)
        why = f", by the spread of {decision.seeds_asked_by}" if decision.seeds_asked_by else ""
        texts.append(f"{stage}the two-stage rule asks for {decision.seeds_asked} seeds a side{why}")
    if decision.exploratory:
        texts.append("exploratory: the rule is younger than records that it is applied to")
    if decision.limitation is not None:
        texts.append(decision.limitation.text)
    return "; ".join(texts)


def _kind_text(kind: str, names: Mapping[str, float]) -> str:
    """Return the share of one kind of variants that keep the verdict, with that of each name in brackets.

    >>> _kind_text("another test", {"ranks": 1.0, "raw values": 0.0})
    'another test 50% [ranks 100%, raw values 0%]'
    """
    each = ", ".join(f"{name} {share:.0%}" for name, share in names.items())
    if len(names) == 1:
        return each if kind in each else f"{kind} ({each})"
    return f"{kind} {sum(names.values()) / len(names):.0%} [{each}]"


def power_text(part: Part) -> str:
    """Return the smallest effect that a part's test would see; empty if it has no error."""
    least = detectable(part.outcome) if part.outcome is not None and part.p is not None else math.nan
    if math.isnan(least) or part.outcome is None:
        return ""
    size = f"a factor of {number(least)}" if part.outcome.factor else f"a difference of {number(least)}"
    return f"this n sees {size} with {POWER:.0%} power"


def effect_text(decision: Decision) -> str:
    """Return the effect that the verdict's p is of, with its interval and unit.

    Of several it is the least sure one, of those that refute the surest.
    """
    part = decision.part_of_p
    return "" if part is None else _of_several(decision, part_effect_text(part))


def finding_text(decision: Decision) -> str:
    """Return what the verdict rests on in a few words: its effect, or a count where no effect says it."""
    part = decision.part_of_p
    if part is None:
        return "; ".join(one.brief for one in decision.deciding if one.brief)
    return _of_several(decision, part_effect_text(part) or part.brief)


def _of_several(decision: Decision, text: str) -> str:
    """Return what was found by one of the tests that decide, with its place among them if there are more."""
    tested = sum(one.p is not None for one in decision.deciding)
    place = "surest" if decision.raw == REFUTED else "least sure"
    return f"{text} ({place} of {tested})" if text and tested > 1 else text


def part_effect_text(part: Part) -> str:
    """Return the effect of one measurement with its interval and unit; empty without one."""
    if part.outcome is None or not math.isfinite(part.outcome.estimate):
        return ""
    interval = "" if math.isnan(part.outcome.low) else " [{}, {}]".format(*ends(part.outcome))
    return f"{_size_text(part, part.outcome.estimate)}{interval}{_unit_text(part)}"


def _seen_text(decision: Decision) -> str:
    """Return the smallest effect that the test of :func:`effect_text` would see."""
    part = decision.part_of_p
    least = detectable(part.outcome) if part is not None and part.outcome is not None else math.nan
    return "" if part is None or math.isnan(least) else _size_text(part, least) + _unit_text(part)


def _size_text(part: Part, value: float) -> str:
    return f"{'×' if part.outcome is not None and part.outcome.factor else ''}{number(value)}"


def _unit_text(part: Part) -> str:
    """Return the unit of a difference behind a space; empty for a factor and for a number without a unit."""
    return f" {part.unit}" if part.unit not in ("", "factor") else ""


def measured_text(decision: Decision) -> str:
    """Return the deciding measurements, then what is missing for a verdict."""
    return " ".join([*(part.sentence for part in decision.deciding), *missing_text(decision)])


def terminal(decisions: Sequence[Decision], console: Console) -> None:
    """Print each claim below its verdict: the sentence, the data and statistics, and the measurements."""
    for decision in decisions:
        n = next((part.n for part in decision.deciding), "0")
        holm, robust = _holm(decision), _robust(decision)
        facts = [decision.data, standing(decision), f"n: {n}"]
        effect, seen = effect_text(decision), _seen_text(decision)
        facts += [f"effect {effect}"] if effect else []
        facts += [f"would see {seen}"] if seen else []
        facts += [f"p {_plain_p(decision)}, Holm {holm}"] if holm else []
        facts += [f"robust {robust}"] if robust else []
        console.print(
            f"[{COLOURS[decision.verdict]}]{badge(decision)}[/]: [bold]{escape(decision.claim.sentence)}[/]"
        )
        limits = f" Limitation: {decision.limitation.text}." if decision.limitation else ""
        text = (
            f"[dim]{escape(' · '.join(filter(None, facts)))}[/]\n{escape(measured_text(decision) + limits)}"
        )
        console.print(Padding(text.rstrip(), (0, 0, 1, 2)))


def verdicts(decisions: Sequence[Decision]) -> str:
    """Return the table of verdicts in Markdown, without a heading."""
    lines = [
        "| claim | data | verdict | evidence | effect, 95 % interval | p | p, Holm "
        f"| smallest effect seen with {POWER:.0%} power | kept by other tests | n |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for decision in decisions:
        n = "; ".join(dict.fromkeys(part.n for part in decision.deciding)) or "0"
        cells = (
            decision.claim.sentence,
            decision.data,
            f"**{badge(decision)}**",
            standing(decision),
            effect_text(decision),
            _plain_p(decision),
            _holm(decision),
            _seen_text(decision),
            _robust(decision),
            n,
        )
        lines.append(f"| {' | '.join(map(md, cells))} |")
    return "\n".join(lines) + "\n"


def _holm(decision: Decision) -> str:
    return _bare(decision.adjusted) if decision.tested else ""


def _plain_p(decision: Decision) -> str:
    return _bare(decision.p) if decision.tested else ""


def _bare(p: float | None) -> str:
    return "" if p is None else p_text(p).removeprefix("p ").removeprefix("= ")


def _robust(decision: Decision) -> str:
    return "" if decision.robustness is None else f"{decision.robustness:.0%}"


def registered_rules(claims: Sequence[Claim]) -> str:
    """Return the registered rules as a table in Markdown, without a heading."""
    lines = [
        "| claim | estimand | direction | minimal effect | test | date | hash |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in claims:
        rule = registry.registered_claims().get(claim.key)
        if rule is not None:
            cells = (claim.sentence, rule.estimand, rule.direction, rule.minimal, rule.test, rule.date[:10])
            lines.append(f"| {' | '.join(map(md, cells))} | `{rule.hash}` |")
    return "\n".join(lines) + "\n"


def changes(claims: Sequence[Claim]) -> str:
    """Return what was changed in the rules after data had been seen, as a table in Markdown.

    A change of several claims with one effect is one row; those with an effect come first.
    """
    lines = ["| change | date | effect | claims |", "|---|---|---|---|"]
    rules = registry.registered_claims()
    told: dict[registry.Change, list[str]] = {change: ["all"] for change in registry.common_changes()}
    for one in claims:
        for change in rules[one.key].changes if one.key in rules else ():
            told.setdefault(change, []).append(one.sentence)
    for change in sorted(told, key=lambda change: change.effect.startswith("none")):
        cells = (change.what, change.date, change.effect, " ".join(told[change]))
        lines.append(f"| {' | '.join(map(md, cells))} |")
    return "\n".join(lines) + "\n"


def rewrites() -> str:
    """Return when the hashes of unchanged rules were written anew, as a table in Markdown."""
    lines = ["| date | what had changed in the code | effect |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(md, (one.date, one.what, one.effect)))} |" for one in registry.rewrites()]
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
        sentence = md(decision.claim.sentence)
        lines += ["", f"## {sentence}", "", f"**{badge(decision)}** on {md(decision.data)}.", ""]
        if evidence := evidence_text(decision):
            lines += [md(f"{evidence[0].upper()}{evidence[1:]}."), ""]
        lines += [f"- {_part_text(part, adjusted)}" for part, adjusted in adjusted_parts(decision)]
        lines += [f"- {md(text)}" for text in (*missing_text(decision), *missing_beside_text(decision))]
        if decision.name in figures:
            picture = figures[decision.name].with_suffix(".svg").relative_to(out)
            lines += ["", f"![{sentence}]({picture.as_posix()})"]
        if decision.runs:
            lines += ["", f"Runs: {', '.join(f'`{run.record.run_id}`' for run in decision.runs)}"]
    return "\n".join(lines) + "\n"


def adjusted_parts(decision: Decision) -> list[tuple[Part, str]]:
    """Return the parts, each with what its test amounts to: corrected p, equivalence, detectable effect."""
    tested = [part for part in decision.deciding if part.p is not None]
    ps = holm([1.0 if part.p is None or math.isnan(part.p) else part.p for part in tested])
    corrected = {id(part): p for part, p in zip(tested, ps, strict=True)}
    texts = []
    for part in decision.parts:
        facts = []
        if part.verdict == EQUIVALENT and part.p is not None:
            facts.append(f"equivalent within {_margin_text(decision, part)}: TOST {p_text(part.p)}")
        if id(part) in corrected and len(tested) > 1:
            facts.append(f"corrected over {len(tested)} parts {p_text(corrected[id(part)])}")
        facts += [power] if (power := power_text(part)) else []
        texts.append((part, "; ".join(facts)))
    return texts


def _margin_text(decision: Decision, part: Part) -> str:
    margin = margins(decision.rule)[part.unit]
    return f"x {margin:g}" if part.unit == "factor" else f"±{margin:g} {part.unit}"


def _part_text(part: Part, adjusted: str) -> str:
    finding = f" ({part.verdict})" if part.decides else ""
    facts = f" {adjusted[0].upper()}{adjusted[1:]}." if adjusted else ""
    test = f" *{md(part.test)}; n = {md(part.n)}.*" if part.test else ""
    return f"{md(part.sentence)}{finding}{md(facts) and ' ' + md(facts)}{test}"


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
            "raw_verdict": decision.raw,
            "exploratory": decision.exploratory,
            "claim_p": _plain(decision.p),
            "holm_p": _plain(decision.adjusted),
            "robustness": _plain(decision.robustness),
            "limitation": decision.limitation.text if decision.limitation else "",
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
        "p_decides": _plain(part.p),
        "detectable": _plain(detectable(part.outcome)) if part.outcome is not None else "",
        "runs": " ".join(run.record.run_id for run in part.runs),
    }
    if part.outcome is not None:
        line |= {key: repr(getattr(part.outcome, key)) for key in OUTCOME_COLUMNS}
    return line


def _plain(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)


def section(decisions: Sequence[Decision], pictures: Mapping[str, str]) -> str:
    """Return the ledger as HTML; ``pictures`` holds the HTML of each decision's figure, by its name."""
    return templates.render(
        "section.html",
        decisions=decisions,
        pictures=pictures,
        lead=LEAD,
        badge=badge,
        evidence=evidence_text,
        adjusted=adjusted_parts,
        missing=missing_text,
        missing_beside=missing_beside_text,
    )
