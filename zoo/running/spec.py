"""One run as plain values: what the composed configuration says, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from zoo.config import Identity, identify, to_dict


@dataclass(frozen=True)
class RunSpec:
    """What one run is made from.

    Attributes:
        identity: model, data, seed and the hashes of the configuration.
        data: settings of the data module, with its ``_target_``.
        model: settings of the model, with its ``_target_``.
        training: settings of the training module, with its ``_target_``.
        evaluation: settings of the protocol.
        trainer: settings of Lightning's trainer, with its ``_target_``.
        logger: settings of the logger.
        overrides: the Hydra overrides that the configuration was composed with, save those of ``hydra``.
        sweep: name of the sweep that the run belongs to.
    """

    identity: Identity
    data: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]
    evaluation: dict[str, Any]
    trainer: dict[str, Any]
    logger: dict[str, Any]
    overrides: list[str]
    sweep: str | None

    @classmethod
    def of(cls, config: DictConfig) -> RunSpec:
        """Return the run of a composed configuration, which has its ``hydra`` node."""
        return cls(
            identify(config),
            data=to_dict(config.data),
            model=to_dict(config.model),
            training=to_dict(config.training),
            evaluation=to_dict(config.evaluation),
            trainer=to_dict(config.trainer),
            logger=to_dict(config.logger),
            overrides=[o for o in config.hydra.overrides.task if not o.startswith("hydra.")],
            sweep=config.sweep,
        )
