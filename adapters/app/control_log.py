"""Logs as JSON lines, or as text on a terminal; nothing moves without one."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, and whatever the call said of its action."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _PLAIN},
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class Text(logging.Formatter):
    """For people: what, from where, to where, why."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = vars(record)
        text = f"{datetime.now():%H:%M:%S} {record.getMessage()}"  # noqa: DTZ005 - local time is what a terminal shows
        if "action" in said:
            if said["source"] or said["target"]:
                text += f"  {said['source'] or '·'} → {said['target'] or '·'}"
            text += f"  {said['outcome'] or said['reason']}"
        return text


def start_log(level: str, form: str) -> None:
    """Write the log of this package to standard error; of libraries what is wrong, in the same form."""
    handler = logging.StreamHandler(sys.stderr)
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(Text() if text else JsonLines())
    for name, least in (("foreshade", level.upper()), ("", "WARNING")):
        log = logging.getLogger(name)
        log.handlers = [handler]
        log.setLevel(least)
    logging.getLogger("foreshade").propagate = False
