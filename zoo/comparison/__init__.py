"""From records to tables, figures and one page. Imports no torch; matplotlib only where figures are drawn."""

from __future__ import annotations

from zoo.comparison.commands import compare
from zoo.comparison.view import View

__all__ = ["View", "compare"]
