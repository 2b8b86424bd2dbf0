"""``zoo workspace``: a comparison as a W&B workspace. Needs the extra ``workspace``; imports no torch.

The panels show what :mod:`zoo.tracking.logger` and :mod:`zoo.tracking.final` log: curves over the axes of
``curves.csv``, metrics and costs from a run's summary, pictures and histograms from its last row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.record import AXES, write_atomic
from zoo.tracking.login import logged_in

CURVE_NAMES = ("train/loss", "val/loss", "val/nll", "val/bits_per_dim", "val/energy_distance")
QUALITIES = ("bits_per_dim", "nll", "fd/digits-cnn")  # lower is better
COSTS = {
    "sampling/latency_seconds": "the seconds of one sample",
    "sampling/sequential_evaluations": "sequential evaluations",
    "cost/device_seconds": "device seconds of training",
}
HISTOGRAMS = ("histogram/samples", "histogram/real", "histogram/nll", "histogram/gradient_norm")
GALLERY = ("nearest", "temperature", "truncation", "steps", "interpolation", "likely", "unlikely")
PICTURES = ("samples", "density", *(f"gallery/{part}" for part in GALLERY), *HISTOGRAMS)
GROUPED_BY = ("family", "choices.model", "config_hash_without_seed")  # seeds are averaged


def save_workspace(
    project: str,
    entity: str | None = None,
    qualities: Sequence[str] = QUALITIES,
    dry_run: bool = False,
    out: Path | None = None,
) -> int:
    """Save a workspace of a project's runs at W&B and print its address; return 0.

    Args:
        project: name of the project at W&B.
        entity: user or team; None: the default one of the logged-in user.
        qualities: metrics that are plotted against costs; lower is better.
        dry_run: print the specification and send nothing.
        out: file for the specification (on a dry run it is then not printed).

    Raises:
        ZooError: the extra is not installed, there is no key, or W&B refuses.
    """
    view = build(project, entity or "", qualities)
    text = json.dumps(specification(view), indent=1) + "\n"
    if out is not None:
        write_atomic(out, text)
    if dry_run:
        print(text if out is None else out, end="" if out is None else "\n")
        return 0
    if not logged_in():
        raise ZooError(
            "This machine is not logged in to W&B; run `wandb login`, set WANDB_API_KEY, or look at the "
            "specification with --dry-run."
        )
    import wandb

    try:
        view.entity = entity or wandb.Api().default_entity
        view.save()
    except Exception as error:  # a refusal has many types
        raise ZooError(f"W&B did not take the workspace: {error}") from error
    print(view.url)
    return 0


def build(project: str, entity: str = "", qualities: Sequence[str] = QUALITIES) -> Any:
    """Return the unsaved workspace: families, quality against cost, samples, curves.

    Args:
        project: name of the project at W&B.
        entity: user or team; empty: the default one of the logged-in user.
        qualities: metrics that are plotted against costs.

    Raises:
        ZooError: the extra is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
        from wandb_workspaces import expr
    except ImportError:
        raise ZooError(
            "`zoo workspace` needs wandb-workspaces: pip install '.[workspace]' in the clone of zoo."
        ) from None

    return ws.Workspace(
        entity=entity,
        project=project,
        name="zoo",
        sections=[
            ws.Section(
                name=name,
                panels=panels,
                is_open=True,
                panel_settings=ws.SectionPanelSettings(x_axis=AXES[0]),
            )
            for name, panels in _panels(wr, qualities).items()
        ],
        settings=ws.WorkspaceSettings(x_axis=AXES[0], max_runs=100),
        runset_settings=ws.RunsetSettings(
            groupby=[expr.Config(name) for name in GROUPED_BY],
            pinned_columns=["config:family.value", "config:seed.value", "summary:status"]
            + [f"summary:{name}" for name in (*qualities, *COSTS)],
        ),
    )


def _panels(reports: Any, qualities: Sequence[str]) -> dict[str, list[Any]]:
    """Return the panels of each section by its title.

    Args:
        reports: W&B's module of panels, which only the extra installs.
        qualities: see :func:`build`.
    """
    return {
        "The slide": [reports.WeavePanelSummaryTable(table_name="slide")],
        "Families": [reports.BarPlot(title=name, metrics=[name]) for name in (*qualities, *COSTS)],
        "Pareto: cost against quality": [
            reports.ScatterPlot(
                title=f"{quality} against {title}",
                x=reports.SummaryMetric(cost),
                y=reports.SummaryMetric(quality),
                log_x=True,
                running_ymin=True,  # the Pareto front: the best quality at this cost or less
            )
            for quality in qualities
            for cost, title in COSTS.items()
        ],
        "Samples and densities": [
            reports.MediaBrowser(title=name, media_keys=[name], num_columns=4) for name in PICTURES
        ],
        "Curves": [
            reports.LinePlot(title=f"{name} over {axis}", x=axis, y=[name], log_x=True)
            for name in CURVE_NAMES
            for axis in AXES
        ],
    }


def specification(view: Any) -> dict[str, Any]:
    """Return the view with its nested ``spec`` as JSON values, as it would be sent."""
    # saving sends this text; the library has no public name for it
    return json.loads(view._to_model().model_dump_json(by_alias=True, exclude_none=True))
