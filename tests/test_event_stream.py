"""The event bus and its streams: order, replay, and readers that do not read."""

import asyncio
import socket
import time
from datetime import UTC, datetime

import pytest

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")

from foreshade.adapters.app.api.event_bus import QUEUE, EventBus
from foreshade.adapters.auth.role import Role
from tests.api_surface import served


def bus():
    return EventBus("e", lambda: datetime(2026, 11, 29, tzinfo=UTC))


async def take(frames, count):
    return [await anext(frames) for _ in range(count)]


def test_a_listener_gets_what_it_missed_and_then_what_comes_once_each():
    async def main():
        one = bus()
        one.bind(asyncio.get_running_loop())
        for number in range(3):
            one.publish("tick", {"n": number})
        frames = one.frames(None, "e-1")
        first = await take(frames, 3)
        one.publish("plan", {"n": 3})
        then = await take(frames, 1)
        await frames.aclose()
        return b"".join([*first, *then]).decode(), one.listeners

    text, left = asyncio.run(main())
    assert [line for line in text.splitlines() if line.startswith("id:")] == ["id: e-2", "id: e-3", "id: e-4"]
    assert left == 0


def test_a_listener_hears_the_kinds_it_asked_for():
    async def main():
        one = bus()
        one.bind(asyncio.get_running_loop())
        frames = one.frames(frozenset({"plan"}), None)
        await anext(frames)
        one.publish("tick", {})
        one.publish("plan", {})
        return await anext(frames)

    assert b"event: plan" in asyncio.run(main())


def test_a_listener_that_does_not_read_is_ended_and_others_are_not():
    async def main():
        one = bus()
        one.bind(asyncio.get_running_loop())
        slow, quick = one.frames(None, None), one.frames(None, None)
        await anext(slow)
        await anext(quick)
        got = []
        for number in range(QUEUE + 10):
            one.publish("tick", {"n": number})
            await asyncio.sleep(0)
            got.append(await anext(quick))
        rest = b"".join([frame async for frame in slow])
        return len(got), rest.count(b"\nevent: "), one.dropped, one.listeners

    assert asyncio.run(main()) == (QUEUE + 10, QUEUE - 1, 1, 1)


def test_a_client_that_never_reads_its_socket_costs_the_others_nothing(tmp_path):
    with served(tmp_path) as one:
        url = one.http.base_url
        stuck = socket.create_connection((url.host, url.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {one.token(Role.VIEWER)}\r\n\r\n"
        stuck.sendall(head.encode())
        assert stuck.recv(100)
        end = time.monotonic() + 60.0
        while not one.surface.context.bus.listeners and time.monotonic() < end:
            time.sleep(0.005)
        for number in range(4 * QUEUE):  # more than any buffer between us and it holds
            one.surface.context.bus.publish("trouble", {"n": number, "filler": "x" * 20_000})
            if number % 64 == 0:
                time.sleep(0.005)
        assert one.ask("GET", "/v1/hosts").status_code == 200  # within the client's patience
        end = time.monotonic() + 60.0
        while not one.surface.context.bus.dropped and time.monotonic() < end:
            time.sleep(0.02)
        assert one.surface.context.bus.dropped == 1
        stuck.close()
