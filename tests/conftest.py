"""Real traces are used where they are: FORESHADE_DATA, or a folder shared/data beside the checkout."""

import os
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"

if "FORESHADE_DATA" not in os.environ and BESIDE.is_dir():
    os.environ["FORESHADE_DATA"] = str(BESIDE)
