"""Real traces are used where they are: FORESHADE_DATA, or a folder shared/data beside the checkout.

Forecast tables go to a folder that ends with the tests, not to the user's cache.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair: by default one of 200 ms fails its test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"

if "FORESHADE_DATA" not in os.environ and BESIDE.is_dir():
    os.environ["FORESHADE_DATA"] = str(BESIDE)

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit it
    os.environ["FORESHADE_CACHE"] = tempfile.mkdtemp(prefix="foreshade-tests-")
    atexit.register(shutil.rmtree, os.environ["FORESHADE_CACHE"], ignore_errors=True)
