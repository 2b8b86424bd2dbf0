"""``python -m zoo.evaluation.train_digits_classifier``: the command that the shipped digits' weights name."""

from __future__ import annotations

import sys

from zoo.evaluation.train_classifier import main

if __name__ == "__main__":
    main(["digits", *sys.argv[1:]])
