"""The settings of one run as plain values, read once from the composed configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.config import Identity, identify, to_dict, whole_numbers
from zoo.config.overrides import absolute
from zoo.errors import ZooError

SECTIONS = ("data", "model", "training", "evaluation", "trainer", "logger")
_OTHERS = ("seed", "sweep", "search", "hydra")
_GLOBAL = ("experiment", "launcher")  # groups whose files write to sections of other groups


def check_names(config: DictConfig | Mapping[str, Any]) -> None:
    """Check that every top-level name of a configuration is a section or used by one (``${name}``).

    Args:
        config: the configuration, whose interpolations are not resolved.

    Raises:
        ZooError: a section that nothing reads.
    """
    items = config.items_ex(resolve=False) if isinstance(config, DictConfig) else config.items()
    nodes = {str(key): node for key, node in items}
    if isinstance(nodes.get("sweep"), Mapping):
        raise ZooError(f"sweep is the name of a sweep, not a section; got {dict(nodes['sweep'])}.")
    for name in nodes:
        if name in SECTIONS or name in _OTHERS:
            continue
        others = str({key: value for key, value in nodes.items() if key != name})
        if not re.search(rf"\$\{{[^}}]*\b{re.escape(name)}\b", others):
            hint = f" (a file of conf/{name} begins with `# @package _global_`)" if name in _GLOBAL else ""
            raise ZooError(
                f"{name} is not a section of the configuration{hint}, and nothing reads it; there are "
                f"{', '.join(SECTIONS)} and seed."
            )


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
        overrides: the Hydra overrides of the configuration, except those of ``hydra``; paths are absolute.
        sweep: name of the sweep that the run belongs to.
        trial: if the run is a trial of a search that may prune it: the search's journal and the number of
            the trial; otherwise None.
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
    trial: tuple[Path, int] | None = None

    @classmethod
    def of(cls, config: DictConfig) -> RunSpec:
        """Return the settings in a composed configuration, which includes its ``hydra`` node.

        Raises:
            ZooError: a section does not exist, is missing, or is not a mapping of settings.
        """
        check_names(config)
        for section in SECTIONS:
            if not OmegaConf.is_dict(config.get(section)):
                raise ZooError(
                    f"{section} must be a mapping of settings; got {config.get(section)!r} (choose one of "
                    f"its files, {section}=NAME)."
                )
        overrides: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        return cls(
            identify(config),
            data=to_dict(config.data),
            model=to_dict(config.model),
            training=to_dict(config.training),
            evaluation=to_dict(config.evaluation),
            trainer=whole_numbers(to_dict(config.trainer)),
            logger=to_dict(config.logger),
            overrides=[absolute(o) for o in overrides if not o.startswith(("hydra.", "search."))],
            sweep=None if config.sweep is None else str(config.sweep),
            trial=_trial(config.get("search")),
        )


def _trial(search: Any) -> tuple[Path, int] | None:
    """Return the journal and the number of the trial in the section ``search``; None if both are unset.

    Raises:
        ZooError: only one of the two is set, or a setting does not exist or has a wrong value.
    """
    settings = to_dict(search) if OmegaConf.is_dict(search) else {"journal": search}
    journal, trial = settings.get("journal"), settings.get("trial")
    if journal is None and trial is None and set(settings) <= {"journal", "trial"}:
        return None
    if not isinstance(journal, str) or not isinstance(trial, int) or isinstance(trial, bool) or trial < 0:
        raise ZooError(
            "search.journal (a file) and search.trial (a number) are set together, by a sweep that searches; "
            f"leave them out. Got {settings}."
        )
    return Path(journal), trial
