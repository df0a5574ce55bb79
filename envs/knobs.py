"""Settings of a part, as they stand in a file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Knobs(BaseModel):
    """Frozen; an unknown key is refused, so that a slip of the pen changes nothing silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")
