"""The benchmarks are scripts that import each other; the tests of this folder import them too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
