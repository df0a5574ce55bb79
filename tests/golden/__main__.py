"""``python -m tests.golden [--write] [NAME…]``."""

from __future__ import annotations

import argparse
import sys
from difflib import unified_diff

from tests.golden import LOGS, log_of, orphans, scenarios, stored


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--write", action="store_true", help="write the logs that differ")
    said = parser.parse_args()
    known = scenarios()
    for name in said.names:
        if name not in known:
            parser.error(f"expected scenarios of {', '.join(known)}, found {name!r}")
    differ = 0
    for name in said.names or known:
        now, then = log_of(name), stored(name)
        if now == then:
            continue
        differ += 1
        diff = unified_diff(
            then.splitlines(), now.splitlines(), f"{name}, reviewed", f"{name}, now", lineterm=""
        )
        sys.stdout.write("\n".join(diff) + "\n")
        if said.write:
            (LOGS / f"{name}.txt").write_text(now, encoding="utf-8")
    for name in () if said.names else orphans():
        differ += 1
        sys.stdout.write(f"{name}: a log without a scenario\n")
        if said.write:
            (LOGS / f"{name}.txt").unlink()
    return 0 if said.write else min(differ, 1)


sys.exit(main())
