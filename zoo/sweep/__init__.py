"""Sweeps: a list of runs, each in a process of its own, none done twice. Imports no torch."""

from __future__ import annotations

from zoo.sweep.plan import Job, Plan, expand, find, plan
from zoo.sweep.run import sweep
from zoo.sweep.search import objective

__all__ = ["Job", "Plan", "expand", "find", "objective", "plan", "sweep"]
