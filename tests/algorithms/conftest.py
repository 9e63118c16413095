"""The algorithms are tested in the learner's little world."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "learner"))
