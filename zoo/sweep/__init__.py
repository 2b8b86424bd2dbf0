"""Sweeps: many runs, each in its own process, none done twice. Imports no torch."""

from zoo.sweep.definition import check_sweep, expand, find_sweep
from zoo.sweep.job import Job
from zoo.sweep.plan import Plan, plan_sweep
from zoo.sweep.run import run_sweep
from zoo.sweep.search import objective

__all__ = ["Job", "Plan", "check_sweep", "expand", "find_sweep", "objective", "plan_sweep", "run_sweep"]
