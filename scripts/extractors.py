"""Measure how well features without training rank known corruptions and models, and write a table.

    git checkout b262915c -- results/claims_mnist      # the records of MNIST, which are of an older protocol
    python scripts/extractors.py -o results/extractors [--root FOLDER_OF_MNIST]
    python scripts/embed.py docs/protocol.md results/extractors/table.md

Digits, the first of the two data sets, take some three minutes of one core.

Corruptions: training images with growing blur, noise, cropping, loss of brightness, duplicates, and a growing
share of images whose halves are exchanged, compared with the other real images. The table has Spearman's
correlation of strength and distance (1: every step is seen), and in brackets the distance at the weakest step
over that of the uncorrupted images (above 1: it is seen). Models: the correlation of two
Fréchet distances over the configurations of the claims' records that have two seeds or more. The first is
that of a configuration's archived samples, all seeds together, in the features of the row. The second is the
recorded one in the trained classifier's features, a mean over seeds, each against the test images alone. The
row of the trained classifier itself shows what pooling the seeds and taking other real images change.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from zoo.comparison.collect import collect
from zoo.config import compose_run, to_dict
from zoo.errors import REFUSED, ZooError
from zoo.evaluation import frechet
from zoo.evaluation.features import classifier, random_network, to_uint8
from zoo.evaluation.sharpness import blur
from zoo.record import SAMPLES
from zoo.running.data import prepare_data

ROOT = Path(__file__).resolve().parents[1]
# For each data set the trained classifier, and where the runs are: a directory or a packed file.
SETS = {
    "digits": ("digits-cnn", ROOT / "results/claims/records.tar.xz"),
    "mnist": ("mnist-cnn", ROOT / "results/claims_mnist/records"),
}
STEPS = 6
IMAGES = 1000
Features = Callable[[Tensor], Tensor]


def corrupted(pixels: Tensor, kind: str, step: int, generator: torch.Generator) -> Tensor:
    """Return images ``(N, C, H, W)`` of 0..255 with a corruption of strength ``step``, 0 (none) to 5."""
    x, side, n = pixels.double(), pixels.shape[-1], len(pixels)
    if step == 0:
        return x
    if kind == "blur":
        x = blur(x, (0, 0.5, 0.7, 1.0, 1.4, 2.2)[step] * (side / 16) ** 0.5)
    elif kind == "noise":
        x = x + torch.randn(x.shape, generator=generator, dtype=x.dtype) * 255 * 0.016 * 2**step
    elif kind == "crop":
        scale = torch.eye(2, 3, dtype=x.dtype).repeat(n, 1, 1) * (1 - step / 16)
        x = F.grid_sample(x, F.affine_grid(scale, list(x.shape), align_corners=False), align_corners=False)
    elif kind == "darker":
        x = x * (1 - (0, 0.05, 0.1, 0.2, 0.4, 0.6)[step])
    elif kind == "duplicates":
        kept = max(4, int(n * (1, 0.5, 0.2, 0.1, 0.04, 0.01)[step]))
        x = x[torch.randint(kept, (n,), generator=generator)]
    else:  # halves exchanged
        share = int(n * (0, 0.05, 0.1, 0.2, 0.4, 0.8)[step])
        x = torch.cat([torch.roll(x[:share], side // 2, 2), x[share:]])
    return x.round().clamp(0, 255)


KINDS = ("blur", "noise", "crop", "darker", "duplicates", "halves")


def shrunk(x: Tensor) -> Tensor:
    """Return pixels averaged to at most 8 x 8, as features."""
    return F.adaptive_avg_pool2d(x / 127.5 - 1, 4 if x.shape[-1] <= 8 else 8).flatten(1)


def scattering(x: Tensor, scales: int = 2, angles: int = 4) -> Tensor:
    """Return a wavelet scattering transform of two orders (Bruna & Mallat 2013), averaged."""

    def moduli(h: Tensor, scale: int) -> Tensor:
        reach = 2 * 2**scale + 1
        line = torch.arange(-reach, reach + 1, dtype=torch.float64)
        y, z = torch.meshgrid(line, line, indexing="ij")
        waves = []
        for k in range(angles):
            angle = math.pi * k / angles
            along, across = (
                z * math.cos(angle) + y * math.sin(angle),
                y * math.cos(angle) - z * math.sin(angle),
            )
            hull = torch.exp(-(along.square() + 4 * across.square()) / (2 * (0.8 * 2**scale) ** 2))
            even, odd = (wave(0.75 * math.pi / 2**scale * along) for wave in (torch.cos, torch.sin))
            waves += [hull * even - hull * (hull * even).sum() / hull.sum(), hull * odd]
            waves[-2:] = [wave / hull.sum() for wave in waves[-2:]]
        flat = F.pad(h.reshape(-1, 1, *h.shape[2:]), (reach,) * 4, mode="replicate")
        response = F.conv2d(flat, torch.stack(waves)[:, None])
        size = (response[:, 0::2].square() + response[:, 1::2].square()).sqrt()
        return size.reshape(len(h), -1, *h.shape[2:])

    rows = []
    for batch in x.split(250):
        h = batch / 127.5 - 1
        parts = [F.adaptive_avg_pool2d(h, 4)]
        for first in range(scales):
            inner = moduli(h, first)
            parts += [F.adaptive_avg_pool2d(inner, 2)]
            parts += [F.adaptive_avg_pool2d(moduli(inner, second), 2) for second in range(first + 1, scales)]
        rows.append(torch.cat([part.flatten(1) for part in parts], 1))
    return torch.cat(rows)


def models(name: str, key: str, levels: int, place: Path) -> tuple[list[float], list[Tensor]]:
    """Return for each configuration the recorded distance and its seeds' archived samples, as bytes.

    Args:
        name: of the data set.
        key: the metric that holds the distance.
        levels: of the data's pixels.
        place: a directory of runs, or one packed file.

    Raises:
        ZooError: no configuration has two runs with this distance and samples.
    """
    groups: dict[str, list[tuple[float, Tensor]]] = {}
    for run in sorted(collect([place])[0], key=lambda run: run.record.run_id):
        metric, arrays = run.record.metrics.get(key), run.arrays(SAMPLES)
        if run.record.data == name and metric is not None and metric.value is not None and arrays is not None:
            group = groups.setdefault(str(run.record.provenance.config_hash_without_seed), [])
            group.append((metric.value, to_uint8(torch.from_numpy(arrays["samples"]), levels).double()))
    known = [group for group in groups.values() if len(group) > 1]
    if not known:
        raise ZooError(
            f"No two runs of one configuration on {name} under {place} have {key} and archived samples; "
            "give a directory or a packed file of such runs."
        )
    pooled = [torch.cat([samples for _, samples in group]) for group in known]
    return [float(np.mean([value for value, _ in group])) for group in known], pooled


def rows(name: str, root: str | None) -> list[str]:
    """Return the lines of a data set's table."""
    trained, place = SETS[name]
    data: Any = prepare_data(
        to_dict(compose_run([f"data={name}", *([f"data.root={root}"] if root else [])]).data)
    )
    spec = replace(data.spec, levels=256)
    levels, generator = data.spec.levels, torch.Generator().manual_seed(0)
    train = data.splits["train"][torch.randperm(len(data.splits["train"]), generator=generator)[:IMAGES]]
    held_out = torch.cat([data.splits[split] for split in ("test", "val")])[:IMAGES]
    train, held_out = (to_uint8(x, levels).double() for x in (train, held_out))
    candidates: dict[str, Features] = {
        f"`{trained}`, trained": lambda x: classifier(trained, data.spec if levels != 256 else spec)(
            (x * (levels - 1) / 255).round()
        ),
        "pixels, averaged": shrunk,
        "wavelet scattering": scattering,
        "`random-conv`": lambda x: random_network("random-conv", spec)(x),
        "`random-conv-16`": lambda x: random_network("random-conv-16", spec)(x),
    }
    recorded, pooled = models(name, f"fd/{trained}", levels, place)
    best = [value <= np.median(recorded) for value in recorded]
    lines = []
    for title, features in candidates.items():
        real = features(held_out)
        cells = [title, str(real.shape[1])]
        for kind in KINDS:
            seed = torch.Generator().manual_seed(1)
            values = [frechet.between(features(corrupted(train, kind, s, seed)), real) for s in range(STEPS)]
            cells.append(f"{spearmanr(range(STEPS), values).statistic:.2f} ({values[1] / values[0]:.2f})")
        far = np.array([frechet.between(features(samples), real) for samples in pooled])
        known = np.array(recorded)
        for chosen in (np.ones(len(far), bool), np.array(best)):
            cells += [f"{spearmanr(known[chosen], far[chosen]).statistic:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    head = ["features of", "dim", *KINDS, f"{len(far)} models", "better half"]
    title = f"**{name}** ({len(train)} images against {len(held_out)})"
    return [title, "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, ""]


def main() -> None:
    """Write ``table.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", type=Path, default=ROOT / "results/extractors")
    parser.add_argument("--root", help="folder of MNIST, which is left out without it")
    options = parser.parse_args()
    options.o.mkdir(parents=True, exist_ok=True)
    try:
        lines = rows("digits", None) + (rows("mnist", options.root) if options.root else [])
    except ZooError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    (options.o / "table.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
