"""results/toys/kinds.md: for each toy, the least divergence that a model of each kind of flow has reached.

python results/known_answers.py results/toys
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from zoo.comparison.collect import collect

KINDS = {
    "coupling": ("realnvp", "glow", "nsf_coupling"),
    "autoregressive": ("made_mog", "maf", "maf_mog", "iaf", "nsf_autoregressive", "tarflow"),
    "residual": ("iresnet", "residual_flow"),
    "continuous": ("ffjord", "flow_matching"),
}
NEAR = 0.05  # nats


def kinds(directory: Path) -> str:
    """A Markdown table, bold where the divergence from the data's density is at most :data:`NEAR` nats."""
    runs, _ = collect([directory / "records"])
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for record in (run.record for run in runs if run.record.status == "finished"):
        kind = next((kind for kind, models in KINDS.items() if record.model in models), None)
        metric = record.metrics.get("kl")
        if kind and metric and metric.value is not None:
            text = f"{metric.value:.4f} ± {metric.standard_error:.4f} ({record.model})"
            found.setdefault((kind, record.data), []).append((metric.value, text))
    toys = sorted({toy for _, toy in found})
    lines = ["| toy | " + " | ".join(KINDS) + " |", "|---|" + "---:|" * len(KINDS)]
    for toy in toys:
        least = [min(found.get((kind, toy), [(math.inf, "not run")])) for kind in KINDS]
        cells = [f"**{text}**" if value <= NEAR else text for value, text in least]
        lines.append(f"| {toy} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "kinds.md").write_text(kinds(place))
