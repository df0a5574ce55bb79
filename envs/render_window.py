"""A window that shows pictures, by pygame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require


class Window:
    """Opened with the first picture; not resized.

    Raises:
        MissingExtraError: pygame is not installed.
        InputError: there is no display.

    """

    def __init__(self, frames_per_s: int) -> None:
        self._pygame: Any = require("pygame", "render", "render_mode human")
        self._clock = self._pygame.time.Clock()
        self._frames_per_s = frames_per_s
        self._surface: Any = None

    def show(self, frame: npt.NDArray[np.uint8]) -> None:
        """Show (height, width, 3), at most ``frames_per_s`` a second."""
        if self._surface is None:
            try:
                self._pygame.display.init()
                self._surface = self._pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            except self._pygame.error as error:
                raise InputError(f"render_mode human: expected a display, found none ({error})") from error
            self._pygame.display.set_caption("Foreshade")
        self._pygame.surfarray.blit_array(self._surface, frame.swapaxes(0, 1))
        self._pygame.event.pump()
        self._pygame.display.flip()
        self._clock.tick(self._frames_per_s)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()
        self._surface = None
