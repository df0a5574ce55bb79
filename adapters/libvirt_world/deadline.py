"""Calls that may block for ever, made with a deadline.

A libvirt call blocks until its host answers. It is made in a thread of its own that is left behind when the deadline
passes: the tick goes on, and the thread ends when the host answers or its connection breaks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from foreshade.adapters.libvirt_world.library import NoAnswerError

T = TypeVar("T")


class Pending(Generic[T]):
    """A call that is being made."""

    def __init__(self, what: str, act: Callable[[], T], on_end: Callable[[], None] | None = None) -> None:
        self._what = what
        self._act = act
        self._on_end = on_end
        self._done = threading.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name=what, daemon=True).start()

    def _run(self) -> None:
        try:
            self._value.append(self._act())
        except BaseException as error:
            self._error = error
        finally:
            if self._on_end is not None:
                self._on_end()
            self._done.set()

    @property
    def ended(self) -> bool:
        """Whether it returned or raised."""
        return self._done.is_set()

    def result(self, timeout_s: float) -> T:
        """Its value; what it raised is raised here.

        Raises:
            NoAnswerError: not within ``timeout_s``; it goes on, and may be asked again.

        """
        if not self._done.wait(max(timeout_s, 0.0)):
            raise NoAnswerError(f"{self._what}: expected an answer within {timeout_s:.1f} s, found none")
        if self._error is not None:
            raise self._error
        return self._value[0]
