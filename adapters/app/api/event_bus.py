"""Events from the controller's thread to whoever listens on the event loop.

An event is written as text once, however many listen. A listener whose queue is full has stopped reading: it is
ended, and can come back with ``Last-Event-ID`` for what it missed, as far as that is still kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from foreshade.adapters.wire.event import Event, EventKind

#: Events that a listener may be behind.
QUEUE = 256
#: Events that are kept for listeners that come back.
KEPT = 1024


class Listener:
    """One stream."""

    def __init__(self, kinds: frozenset[str] | None) -> None:
        self.kinds = kinds  # None = all
        self.queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(QUEUE)
        self.lost = False  # it did not read, and is ended

    def offer(self, number: int, event: Event, text: bytes) -> None:
        """Hand on, or give up on a listener that does not read."""
        if self.lost or (self.kinds is not None and event.kind not in self.kinds):
            return
        try:
            self.queue.put_nowait((number, text))
        except asyncio.QueueFull:
            self.lost = True
            self.queue.get_nowait()
            self.queue.put_nowait(None)


class EventBus:
    """Publishes from any thread; is listened to on one event loop."""

    def __init__(self, epoch: str, now: Callable[[], datetime]) -> None:
        self._epoch = epoch  # of this process, so that numbers of another are not taken for ours
        self._now = now
        self._number = 0
        self._kept: deque[tuple[int, Event, bytes]] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()
        self._taps: list[Callable[[Event], None]] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.dropped = 0  # listeners that were ended because they did not read

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where listeners live."""
        self._loop = loop

    def tap(self, on_event: Callable[[Event], None]) -> None:
        """Call ``on_event`` from the publishing thread; it must return at once and not raise."""
        self._taps.append(on_event)

    @property
    def listeners(self) -> int:
        """Streams that are open."""
        return len(self._listeners)

    def publish(self, kind: EventKind, data: Mapping[str, Any]) -> Event:
        """Tell everybody; from any thread, never waits."""
        with self._lock:
            self._number += 1
            event = Event(id=f"{self._epoch}-{self._number}", time=self._now(), kind=kind, data=data)
            text = _frame(event)
            number = self._number
            self._kept.append((number, event, text))
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._fan_out, number, event, text)
        for tap in self._taps:
            tap(event)
        return event

    def _fan_out(self, number: int, event: Event, text: bytes) -> None:
        for listener in tuple(self._listeners):
            listener.offer(number, event, text)
            if listener.lost:
                self._listeners.discard(listener)
                self.dropped += 1

    def recent(self, kinds: Collection[str] | None = None) -> list[Event]:
        """What is kept, the oldest first."""
        with self._lock:
            return [event for _, event, _ in self._kept if kinds is None or event.kind in kinds]

    def missed(self, last_id: str | None, kinds: frozenset[str] | None) -> tuple[list[bytes], int]:
        """What came after an event, everything kept where it is not known, nothing for None; and the number now."""
        epoch, _, number = (last_id or "").rpartition("-")
        after = int(number) if epoch == self._epoch and number.isdecimal() and len(number) < 18 else 0
        with self._lock:
            if last_id is None:
                return [], self._number
            wanted = [
                text for n, event, text in self._kept if n > after and (kinds is None or event.kind in kinds)
            ]
            return wanted, self._number

    async def frames(
        self, kinds: frozenset[str] | None, last_id: str | None, ping_s: float = 15.0
    ) -> AsyncIterator[bytes]:
        """The stream of one listener, a frame or several at a time, until it is ended."""
        listener = Listener(kinds)
        self._listeners.add(listener)  # before what was missed is read, so that nothing falls between
        try:
            missed, until = self.missed(last_id, kinds)
            yield b"retry: 2000\n\n"
            for text in missed:
                yield text
            while True:
                try:
                    async with asyncio.timeout(ping_s):
                        item = await listener.queue.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                texts = []
                while item is not None:
                    if item[0] > until:  # others were told above, or came before this listener did
                        texts.append(item[1])
                    if listener.queue.empty():
                        break
                    item = listener.queue.get_nowait()
                if texts:
                    yield b"".join(texts)  # one write to the socket for all that waits
                if item is None:
                    return
        finally:
            self._listeners.discard(listener)


def _frame(event: Event) -> bytes:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n".encode()
