"""Nothing here runs without real hosts: ``make test-live`` sets FORESHADE_LIVE."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("FORESHADE_LIVE") else ["test_*.py"]
