"""Sweeps: a list of runs, each in a process of its own, none done twice. Imports no torch."""

from __future__ import annotations

from zoo.sweep.plan import Job, Plan, expand, find_sweep, plan_sweep
from zoo.sweep.run import run_sweep
from zoo.sweep.search import objective

__all__ = ["Job", "Plan", "expand", "find_sweep", "objective", "plan_sweep", "run_sweep"]
