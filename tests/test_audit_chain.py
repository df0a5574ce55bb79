"""The audit's hash chain: what was changed, removed or moved shows."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from foreshade.adapters.audit.chain import Act, verify
from foreshade.adapters.audit.log import AuditLog, MemoryAudit
from foreshade.envs.errors import WorldError

NOW = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)


def act(number=0):
    return Act(
        NOW + timedelta(seconds=number), "kim", "operator", "plan.approve", f"p{number}", detail={"n": number}
    )


@pytest.fixture
def audit():
    store = MemoryAudit()
    log = AuditLog(store)
    for number in range(5):
        log.append(act(number))
    return log, store.entries


def test_a_chain_that_nobody_touched_is_whole(audit):
    log, entries = audit
    verdict = log.verify()
    assert (verdict.entries, verdict.head, verdict.error) == (5, entries[-1].hash, "")
    assert log.head == entries[-1].hash


TAMPER = {
    "content": lambda e: e.__setitem__(2, replace(e[2], act=replace(e[2].act, actor="eve"))),
    "time": lambda e: e.__setitem__(2, replace(e[2], act=replace(e[2].act, time=NOW))),
    "removal": lambda e: e.pop(2),
    "swap": lambda e: e.__setitem__(slice(2, 4), [e[3], e[2]]),
    "insertion": lambda e: e.insert(2, e[1]),
    "hash": lambda e: e.__setitem__(2, replace(e[2], hash="0" * 64)),
}


@pytest.mark.parametrize("how", TAMPER)
def test_tampering_is_found_where_it_was_done(audit, how):
    log, entries = audit
    TAMPER[how](entries)
    verdict = log.verify()
    assert verdict.entries == 2
    assert verdict.error.startswith("entry 3")


def test_a_cut_at_the_end_shows_against_a_head_noted_elsewhere(audit):
    log, entries = audit
    head = log.head
    assert log.verify(head).error == ""
    del entries[3:]
    assert log.verify().error == ""
    assert "expected the hash" in log.verify(head).error


def test_entries_of_several_writers_make_one_chain():
    store = MemoryAudit()
    lock = threading.Lock()
    add = store.add

    def slow(entry):
        with lock:
            return add(entry)

    store.add = slow
    logs = [AuditLog(store) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda log=log: [log.append(act(i)) for i in range(25)]) for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(store.entries).entries == 100


def test_a_store_that_never_takes_the_entry_is_an_error():
    store = MemoryAudit()
    store.add = lambda _: False
    with pytest.raises(WorldError, match="entry 1"):
        AuditLog(store).append(act())


def test_refused_attempts_are_recorded_beside_the_caller():
    store = MemoryAudit()
    log = AuditLog(store)
    for number in range(10):
        log.append_denied(act(number))
    log.close()
    assert [entry.act.target for entry in store.entries] == [f"p{n}" for n in range(10)]
