"""Write results/toys/kinds.md: for each toy the least divergence that a model of each kind of flow reached.

python scripts/known_answers.py results/toys
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from zoo.comparison.collect import collect
from zoo.record import Record

KINDS = ("coupling", "autoregressive", "residual", "continuous")
NEAR = 0.05  # nats


def kind_of_flow(record: Record) -> str | None:
    """Return the kind of a flow, which follows from its family and from its order of sampling.

    An inverse autoregressive flow samples in parallel, so it counts with the coupling flows.
    """
    if record.family == "continuous flow":
        return "continuous"
    if record.sampling.order == "sequential":
        return "autoregressive"
    kinds = {"parallel": "coupling", "solver": "residual"}
    return kinds.get(record.sampling.order or "") if record.family == "flow" else None


def kinds(directory: Path) -> str:
    """Return a Markdown table, bold where the divergence is at most :data:`NEAR` nats."""
    runs, _ = collect([directory / "records.tar.xz"])
    reached: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for record in (run.record for run in runs if run.record.status == "finished"):
        kind, metric = kind_of_flow(record), record.metrics.get("kl")
        if kind and metric and metric.value is not None:
            text = f"{metric.value:.4f} ± {metric.standard_error:.4f} ({record.model})"
            reached.setdefault((kind, record.data), []).append((metric.value, text))
    lines = ["| toy | " + " | ".join(KINDS) + " |", "|---|" + "---:|" * len(KINDS)]
    for toy in sorted({toy for _, toy in reached}):
        least = [min(reached.get((kind, toy), [(math.inf, "not run")])) for kind in KINDS]
        cells = [f"**{text}**" if value <= NEAR else text for value, text in least]
        lines.append(f"| {toy} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "kinds.md").write_text(kinds(place))
