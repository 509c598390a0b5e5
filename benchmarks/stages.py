"""Where the time of one submission goes: medians by stage over a graded course folder.

python benchmarks/stages.py [COURSE]        (default: .run/demo, after `make demo`)
"""

from __future__ import annotations

import sys
from pathlib import Path

from autograder.grading.stage_times import table

if __name__ == "__main__":
    print(table(Path(sys.argv[1] if len(sys.argv) > 1 else ".run/demo")))
