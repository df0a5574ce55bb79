"""Settings of a part, as they stand in a file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

#: Largest seed of anything: what NumPy's old generator, which libraries seed, takes.
MOST_SEED = 2**32 - 1


class Knobs(BaseModel):
    """Frozen; an unknown key is refused, so that a slip of the pen changes nothing silently, and so is a NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
