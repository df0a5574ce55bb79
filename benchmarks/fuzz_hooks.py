"""What schemathesis is told about the API beyond its document: how an uploaded policy is put on the wire."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/zip")
def zipped(_context: Any, value: Any) -> bytes:
    """Random bytes, as they come: a zip that verifies is not found by chance."""
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")
