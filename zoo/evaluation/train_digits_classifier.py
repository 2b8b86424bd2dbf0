"""Train the digits' classifier; the metadata of its weights in the package name this command."""

from __future__ import annotations

import sys

from zoo.evaluation.train_classifier import main

if __name__ == "__main__":
    main(["digits", *sys.argv[1:]])
