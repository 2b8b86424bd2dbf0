"""Papers' tables, number beside number: published values as data, our runs, difference and status.

Imports no torch. ``zoo reproduce`` is the command; :func:`load`, :func:`report` and :func:`run_table` are the
same for a program.
"""

from zoo.reproduction.reproduce import Report, report, run_table
from zoo.reproduction.schema import Table, load, names
from zoo.reproduction.verdict import Result, judge

__all__ = ["Report", "Result", "Table", "judge", "load", "names", "report", "run_table"]
