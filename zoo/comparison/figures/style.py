"""How figures look, and how they are saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from zoo.comparison.configurations import FAMILIES

OKABE_ITO = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#999999")
COLOURS = dict(zip(FAMILIES, OKABE_ITO, strict=True))  # distinct for colour-blind readers
OTHER = "#999999"  # a family that a user has added
INK, PAPER = "#1c2024", "#ffffff"  # the page replaces them by its own colours
STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "svg.fonttype": "none", "svg.hashsalt": "zoo", "font.sans-serif": ["DejaVu Sans"],
    "figure.facecolor": PAPER, "axes.facecolor": PAPER,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}  # fmt: skip


def colour(family: str) -> str:
    """Return the colour of a family."""
    return COLOURS.get(family, OTHER)


def canvas(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Any:
    """Return an empty figure of ``width`` by ``height`` inches; None: no engine moves its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def plain_text(text: str) -> str:
    """Return a name that matplotlib neither typesets (``$``) nor leaves out of a legend (a leading ``_``)."""
    text = " ".join(text.split()).replace("$", r"\$")
    return text if not text.startswith("_") else f" {text}"


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a line of text in inches; its letters have ``size`` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Return the lines of a text, each at most as wide as there is room for; a wider word is cut.

    Args:
        text: as it is read, before :func:`plain_text`.
        width: of the room, in inches.
        size: of the letters, in points.
        weight: ``normal`` or ``bold``.
    """

    def fits(line: str) -> bool:
        return text_width(line, size, weight) <= width

    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and fits(f"{line} {word}"):
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        line = word
        while not fits(line) and len(line) > 1:
            keep = next((end for end in range(len(line) - 1, 1, -1) if fits(line[:end])), 1)
            lines.append(line[:keep])
            line = line[keep:]
    return [*lines, line] if line else lines


def explain(figure: Any, text: str) -> None:
    """Write a text below a figure, in lines that are at most as long as it is wide."""
    lines = wrapped(text, 0.98 * figure.get_figwidth(), 8)
    figure.supxlabel("\n".join(map(plain_text, lines)), x=0.01, ha="left", fontsize=8)


def save_png(figure: Any, file: Path, dpi: int) -> None:
    """Write a figure as PNG on a palette of 256 colours: a third of the bytes, since results are kept in git.

    Figures of many colours, such as photographs, keep all of them.
    """
    from PIL import Image

    figure.savefig(file, dpi=dpi)
    with Image.open(file) as picture:
        colours = picture.convert("RGB")
    if colours.getcolors(8192) is not None:
        colours.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def save_svg(figure: Any, file: Path) -> None:
    """Write a figure as SVG, with the same bytes each time.

    matplotlib names some clipping paths after addresses in memory; here they are numbered. Coordinates keep
    two decimals (a hundredth of a point): half of the bytes.
    """
    figure.savefig(file, metadata={"Date": None})
    text = file.read_text(encoding="utf-8")
    for index, name in enumerate(dict.fromkeys(re.findall(r'<clipPath id="(\w+)"', text))):
        text = text.replace(name, f"{file.stem}-clip{index}")
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)  # drop rotations by zero
    text = re.sub(r'(?<= )(?:d|x|y)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), text)
    file.write_text(text, encoding="utf-8")
