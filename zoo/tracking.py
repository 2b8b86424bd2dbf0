"""Where a run is logged beside its record: Weights & Biases, Lightning's CSV files, or nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from zoo.config import Identity
from zoo.errors import ZooError
from zoo.record import Record


def wandb_mode() -> str:
    """``online`` where the environment says so or a key is at hand, otherwise ``offline``."""
    chosen = os.environ.get("WANDB_MODE")
    if chosen:
        return chosen
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    known = os.environ.get("WANDB_API_KEY") or (netrc.exists() and "wandb" in netrc.read_text())
    return "online" if known else "offline"


def start(settings: dict[str, Any], identity: Identity, family: str, directory: Path) -> list[Logger]:
    """The logger of a run.

    Raises:
        ZooError: an unknown logger.
    """
    name = settings.get("name")
    if name == "none":
        return []
    if name == "csv":
        return [CSVLogger(str(directory), name="csv", version="")]
    if name != "wandb":
        raise ZooError(f"logger= takes wandb, csv or none; got '{name}'.")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    mode = wandb_mode()
    run = wandb.init(
        project=settings.get("project", "zoo"),
        name=identity.run_id,
        group=settings.get("group") or identity.config_hash_without_seed[:10],
        job_type=f"seed{identity.seed}",
        tags=[family, identity.data, identity.model],
        config=identity.config,
        dir=str(directory),
        mode=mode,  # type: ignore[arg-type]
        settings=wandb.Settings(console="off", disable_git=True),
    )
    run.define_metric("*", step_metric="updates")
    return [WandbLogger(experiment=run, offline=mode == "offline")]


def finish(loggers: list[Logger], record: Record, picture: Path | None, checkpoint: Path | None) -> None:
    """Log the final metrics, the sample grid and a reference to the checkpoint; close the run."""
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        import wandb

        run = logger.experiment
        if picture is not None and picture.exists():
            run.log({"samples": wandb.Image(str(picture)), "updates": record.cost.get("updates", 0)})
        for name, metric in record.metrics.items():
            run.summary[name] = metric.value
            run.summary[f"{name}/kind"] = metric.kind
        run.summary.update({"status": record.status, "reason": record.reason})
        run.summary.update({f"cost/{k}": v for k, v in record.cost.items()})
        run.summary.update({f"sampling/{k}": v for k, v in record.sampling.items()})
        if checkpoint is not None and checkpoint.exists():
            artifact = wandb.Artifact(f"{record.run_id}-checkpoint", type="model")
            artifact.add_reference(checkpoint.resolve().as_uri())
            run.log_artifact(artifact)
        run.finish(exit_code=0 if record.status == "finished" else 1)
