"""From overrides to one composed configuration and its identity. Imports no torch."""

from zoo.config.compose import check_choices, compose_run, model_settings, with_present_names
from zoo.config.identity import Identity, differing, identify, to_dict, whole_numbers
from zoo.config.places import (
    find_own_modules,
    options,
    run_dir_override,
    shipped,
)

__all__ = [
    "Identity",
    "check_choices",
    "compose_run",
    "differing",
    "find_own_modules",
    "identify",
    "model_settings",
    "options",
    "run_dir_override",
    "shipped",
    "to_dict",
    "whole_numbers",
    "with_present_names",
]
