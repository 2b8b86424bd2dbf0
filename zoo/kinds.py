"""The words that models declare about themselves, and that records and papers' tables hold."""

from __future__ import annotations

from typing import Literal

# What a value of log-likelihood is.
Kind = Literal["exact", "lower bound", "estimate", "none"]
# How a sample is drawn: all dimensions at once, one after the other, or by an iterative solver.
SamplingOrder = Literal["parallel", "sequential", "solver"]
