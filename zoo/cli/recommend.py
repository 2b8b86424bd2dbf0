"""``zoo recommend``: which configuration to use under given constraints, as a reasoned list."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import fields

from rich.console import Console

from zoo.comparison.collect import gather
from zoo.comparison.lines import say
from zoo.comparison.recommend import (
    Answer,
    Block,
    Card,
    Constraints,
    Excluded,
    limit_text,
    recommend,
)
from zoo.comparison.recommend.numbers import error_text, number_texts, share
from zoo.comparison.studies import with_labels
from zoo.kinds import DataKind

WIDTH = 100  # largest width of a line of text
_LIKELIHOODS = {
    "exact": "exact likelihood",
    "bound": "a guaranteed bound of the likelihood",
    "estimate": "an estimate of the likelihood",
}
_KINDS = {  # the headings of blocks: kinds of likelihood are not ranked against each other
    "exact": "Exact likelihood",
    "exact†": "Exact for the dequantised density (†), a bound for the integers",
    "lower bound": "A bound of the likelihood (≤)",
    "estimate": "An estimate of the likelihood (≈)",
}
SHOWN = 12  # largest number of excluded models without --all
NAMED = ("throughput", "memory", "parameters")  # whose unit says what they are


def print_recommendation(
    options: Namespace, models: Mapping[str, DataKind], console: Console | None = None
) -> int:
    """Print which configurations fulfil the constraints of the command line; return 0.

    Args:
        options: the command's options, called like those of :class:`~zoo.comparison.recommend.Constraints`.
        models: the kind of data that each model needs, by the model's name.
        console: where to print.
    """
    runs, console = gather(options.paths, console)
    console.width = min(console.width, WIDTH)
    constraints = Constraints(**{field.name: getattr(options, field.name) for field in fields(Constraints)})
    answer = recommend(with_labels(runs), constraints, models)
    if options.json:
        console.print_json(json.dumps(answer.to_dict(), allow_nan=False))
        return 0
    _Report(console).print(answer, everything=options.all)
    return 0


class _Report:
    """Prints an answer in lines that fit the terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def line(self, text: str, indent: int = 0, style: str = "") -> None:
        say(text, self.console, indent=indent, style=style)

    def command(self, text: str, indent: int) -> None:
        """Print a command on one line, however long, so that it can be copied."""
        self.console.print(" " * indent + text, markup=False, highlight=False, soft_wrap=True, style="cyan")

    def heading(self, text: str) -> None:
        self.console.print()
        self.line(text, style="bold underline")

    def print(self, answer: Answer, everything: bool) -> None:
        constraints = _constraints_text(answer.constraints) or "no constraints"
        self.line(f"{answer.data}: {constraints}; decided by {answer.criteria}", style="bold")
        for note in answer.notes:
            self.line(note, style="yellow")
        for block in answer.blocks:
            self.block(block)
        self.excluded(answer, everything)
        if answer.relaxations:
            self.heading("What would change it")
            for relaxation in answer.relaxations:
                self.line(relaxation.text, 2)
        if answer.unmeasured:
            self.heading("Not measured")
            for what, command in answer.unmeasured:
                self.line(what, 2)
                self.command(command, 4)

    def block(self, block: Block) -> None:
        """Print the answers that are ranked together, and how sure their order is."""
        if block.kind:
            self.heading(_KINDS[block.kind])
        for place, card in enumerate(block.cards, 1):
            self.card(place, card)
        if block.kind:
            self.console.print()
            self.line(f"How sure: {block.certainty}", 2)
        else:
            self.heading("How sure")
            self.line(block.certainty, 2)

    def card(self, place: int, card: Card) -> None:
        self.console.print()
        letters = f"  [{card.letters}]" if card.letters else ""
        self.line(f"{place}. {card.name}  ({card.family}){letters}", style="bold green")
        self.line(card.why, 3)
        self.line(" · ".join(_numbers(card)), 3)
        top = f"best in {share(card.on_top)} of draws; " if card.ranked else ""
        seen = f", {card.images_seen:,.0f} images seen" if card.images_seen is not None else ""
        self.line(
            f"{top}{error_text(card.seeds)}; tried "
            f"{card.tried[0]} configuration{'s' * (card.tried[0] != 1)} of the model, {card.tried[1]} of its "
            f"family{seen}",
            3, "dim",
        )  # fmt: skip
        if card.device:
            apart = "; its times are not compared with those of most runs here" if card.elsewhere else ""
            self.line(f"timed on {card.device}{apart}", 3, "yellow" if card.elsewhere else "dim")
        self.line(card.lost.text + (f"; weights in {card.checkpoint}" if card.checkpoint else ""), 3, "dim")
        if card.beside_table:
            self.line(card.beside_table, 3, "yellow")
        command = card.command or "its record has no command; make the run again to get one"
        self.command(command, 3)

    def excluded(self, answer: Answer, everything: bool) -> None:
        if not answer.excluded:
            return
        self.heading("Why not the others")
        shown = list(answer.excluded) if everything else list(_one_a_model(answer))[:SHOWN]
        for one in shown:
            self.line(f"{one.name}: {'; '.join(reason.text for reason in one.reasons)}", 2)
        rest = len(answer.excluded) - len(shown)
        if rest:
            self.line(f"and {rest} more configurations (--all)", 2, "dim")


def _one_a_model(answer: Answer) -> Iterator[Excluded]:
    """Yield, for each model without a card, the configuration that came nearest to getting one."""
    done = {card.model for card in answer.cards}

    def place(one: Excluded) -> tuple[int, bool]:
        return len(one.reasons), one.reasons[0].constraint != "dominated"

    for one in sorted(answer.excluded, key=place):
        if one.model not in done:
            done.add(one.model)
            yield one


def _constraints_text(constraints: Constraints) -> str:
    parts = [_LIKELIHOODS[constraints.likelihood]] if constraints.likelihood in _LIKELIHOODS else []
    words = dict.fromkeys(("memory", "parameters", "lost"), "at most")
    words |= {"latency": "one sample in at most", "training": "training in at most", "throughput": "at least"}
    for name, word in words.items():
        if (limit := getattr(constraints, name)) is not None:
            parts.append(f"{word} {limit_text(name, limit)}")
    parts += ["invertible latents"] * constraints.invertible + ["labels"] * constraints.conditional
    parts += ["trained weights at hand"] * constraints.checkpoint
    if constraints.dimension is not None:
        parts.append(f"data of about {constraints.dimension:,} dimensions")
    return ", ".join(parts)


def _numbers(card: Card) -> Iterator[str]:
    for name, words in number_texts(card.numbers).items():
        yield words if name in NAMED else f"{name} {words}"
