"""The settings of one run as plain values, read once from the composed configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from zoo.config import Identity, identify, to_dict


@dataclass(frozen=True)
class RunSpec:
    """The settings of one run.

    Attributes:
        identity: model, data, seed and the hashes of the configuration.
        data: settings of the data module, with its ``_target_``.
        model: settings of the model, with its ``_target_``.
        training: settings of the training module, with its ``_target_``.
        evaluation: settings of the protocol.
        trainer: settings of Lightning's trainer, with its ``_target_``.
        logger: settings of the logger.
        overrides: the Hydra overrides of the configuration, except those of ``hydra``.
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
        """Return the settings in a composed configuration, which includes its ``hydra`` node."""
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
