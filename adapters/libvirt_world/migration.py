"""Live migration: the guest serves on its source while it is copied, and then on its destination.

Peer to peer the source's libvirt does it, and goes on when we die; direct it is driven from here. What became of it
is asked of both hosts, never of the call: a guest that runs on the destination and not on the source has moved.
"""

from __future__ import annotations

import logging
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from foreshade.adapters.libvirt_world.cluster import Found
from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.domain import Definition
from foreshade.adapters.libvirt_world.hands import Deadline, Hands, failed
from foreshade.adapters.libvirt_world.library import NoAnswerError, is_missing, library, said
from foreshade.adapters.libvirt_world.record import Record
from foreshade.adapters.libvirt_world.volumes import make_room, remove_overlays
from foreshade.envs.errors import ForeshadeError, WorldError
from foreshade.envs.order import Order, Result, Standing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A migration that is under way, by QEMU's own figures."""

    elapsed_ms: int
    sent_mib: float
    left_mib: float
    iteration: int


@dataclass(frozen=True, slots=True)
class Completed:
    """A migration that ended, by the destination's figures."""

    total_ms: int
    downtime_ms: int
    setup_ms: int
    sent_mib: float
    iterations: int


class Migration:
    """``MIGRATE``."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._jobs: dict[str, Pending[None]] = {}  # by the name of the VM
        self.completed: dict[str, Completed] = {}  # by the key of the order

    def refusal(self, order: Order) -> str:
        """Not running, not ours, in another job, its shadow or primary on the destination, or no room there."""
        try:
            found = self._hands.one(order.vm)
            if found.host == order.host:
                return f"VM {order.vm}: expected another host than {order.host}, found it there already"
            if order.source and found.host != order.source:
                return f"VM {order.vm}: expected it on {order.source}, found it on {found.host}"
            if not found.running:
                return f"VM {order.vm}: expected it to run, found it stopped or paused"
            if found.job:
                return f"VM {order.vm}: expected no job, found one at work"
            return self._hands_room(order, found)
        except ForeshadeError as error:
            return said(error)

    def carry_out(self, order: Order, deadline: Deadline) -> Result:
        """Move it; or, when it is being moved there already, wait for that."""
        before = self.standing(order)
        if before is Standing.DONE:
            return Result(before)
        if before is Standing.HALF_DONE:
            mended = self.compensate(order, deadline)
            if mended.standing is not Standing.UNTOUCHED:
                return mended
        job = self._jobs.get(order.vm)
        if before is not Standing.UNDER_WAY:
            against = self.refusal(order)
            if against:
                return failed(Standing.UNTOUCHED, against)
            found = self._hands.one(order.vm)
            self._send_disks(order, found)
            job = self._begin(order, found)
            self._jobs[order.vm] = job
        error = ""
        if job is not None:
            try:
                job.result(deadline.left_s)
                self._jobs.pop(order.vm, None)
            except NoAnswerError:
                if not job.ended:
                    return Result(Standing.UNDER_WAY)
                error = "its source went away meanwhile"
            except library().libvirtError as refused:
                self._jobs.pop(order.vm, None)
                error = said(refused)
        else:
            deadline.until(lambda: self.standing(order) is not Standing.UNDER_WAY, 0.2)
        standing = self.standing(order)
        if standing is Standing.DONE:
            self._moved(order)
            return Result(standing)
        if standing is Standing.UNTOUCHED:
            self._leave_no_disks(order.host, order)
        return failed(
            standing, f"VM {order.vm} to {order.host}: {error or 'expected it there, found it not'}"
        )

    def standing(self, order: Order) -> Standing:
        """By where it is and whether a job works on it."""
        wanted = [host for host in dict.fromkeys((order.source, order.host)) if host]
        places = self._hands.cluster.search(order.vm, wanted if order.source else None)
        there, elsewhere = (
            places.get(order.host),
            [f for h, f in places.items() if h != order.host and f.active],
        )
        if there is not None and there.running and not elsewhere:
            return Standing.DONE
        source = elsewhere[0] if elsewhere else None
        job = self._jobs.get(order.vm)
        if (job is not None and not job.ended) or (source is not None and source.job):
            return Standing.UNDER_WAY
        if there is None and source is not None and source.running:
            return Standing.UNTOUCHED
        if there is None and source is None:
            return Standing.UNTOUCHED  # gone from both: nothing of this order can be seen
        return Standing.HALF_DONE

    def compensate(self, order: Order, deadline: Deadline) -> Result:
        """Stop the copy; of two halves keep the one that runs."""
        cluster, libvirt = self._hands.cluster, library()
        if self.standing(order) is Standing.UNDER_WAY:
            self.abort(order)
            deadline.until(lambda: self.standing(order) is not Standing.UNDER_WAY, 0.1)
        places = cluster.search(order.vm)
        there = places.get(order.host)
        source = next((found for host, found in places.items() if host != order.host and found.active), None)
        if there is not None:
            self._hands.must_be_ours(there.definition)
        try:
            if source is not None and source.running and there is not None and not there.running:
                cluster.domain(order.host, order.vm, "remove the copy of", _discard, 15.0)
            elif there is not None and there.running and source is not None and not source.running:
                cluster.domain(source.host, order.vm, "remove the remains of", _discard, 15.0)
            elif source is not None and not source.running and there is None:
                # It was paused for the last round when its destination went away: it is whole.
                cluster.domain(source.host, order.vm, "resume", lambda domain: domain.resume(), 15.0)
            elif there is not None and not there.running and source is None:
                # The source is gone and the copy whole only when QEMU says so, by letting it run.
                cluster.domain(order.host, order.vm, "resume", lambda domain: domain.resume(), 15.0)
        except libvirt.libvirtError as error:
            return failed(Standing.HALF_DONE, f"VM {order.vm}: {said(error)}")
        standing = self.standing(order)
        if standing is Standing.UNTOUCHED:
            self._leave_no_disks(order.host, order)
        return Result(standing)

    def abort(self, order: Order) -> None:
        """Stop the copy; the guest stays where it is.

        Raises:
            WorldError: its host does not answer.

        """
        libvirt = library()
        for host, found in self._hands.cluster.search(order.vm).items():
            if host == order.host or not found.job:
                continue
            try:
                self._hands.cluster.domain(host, order.vm, "abort the move of", lambda d: d.abortJob())
            except libvirt.libvirtError as error:
                if not is_missing(error) and error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                    raise WorldError(f"VM {order.vm}: {said(error)}") from error

    def progress(self, vm: str, host: str) -> Progress | None:
        """How far its migration is, asked of its source; None = none is under way."""
        libvirt = library()
        try:
            told = self._hands.cluster.domain(host, vm, "progress of", lambda d: d.jobStats(), 3.0)
        except libvirt.libvirtError:
            return None
        if told.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
            return None
        return Progress(
            int(told.get("time_elapsed", 0)),
            told.get("data_processed", 0) / 2**20,
            told.get("data_remaining", 0) / 2**20,
            int(told.get("memory_iteration", 0)),
        )

    # -- disks that go along ---------------------------------------------------------------------------------------

    def _send_disks(self, order: Order, found: Found) -> None:
        """Room on the destination for what is copied: libvirt makes none for an overlay."""
        record, cluster = found.definition.record, self._hands.cluster
        pool = "" if record is None else self._hands.pool(record)
        if not (self._hands.settings.migration.copy_disks and pool):
            return
        text = cluster.domain(found.host, order.vm, "disks of", lambda domain: domain.XMLDesc(0))
        root = ET.fromstring(text)  # noqa: S314 - libvirt's own answer
        cluster.call(
            order.host, f"make room for {order.vm}", lambda conn: make_room(conn, pool, root, order.vm), 30.0
        )

    def _leave_no_disks(self, host: str, order: Order) -> None:
        """What a guest that stands elsewhere has of disks on a host is deleted; a host that is away keeps it."""
        cluster = self._hands.cluster
        if not (self._hands.settings.migration.copy_disks and host):
            return
        try:
            places = cluster.search(order.vm)
            records = [found.definition.record for found in places.values() if found.host != host]
            pool = next((self._hands.pool(record) for record in records if record is not None), "")
            if pool and host not in places:
                cluster.call(
                    host, f"delete disks of {order.vm}", lambda c: remove_overlays(c, pool, order.vm), 30.0
                )
        except WorldError as error:
            log.warning("VM %s: its disks on %s stay: %s", order.vm, host, said(error))

    # -- ----------------------------------------------------------------------------------------------------------

    def _hands_room(self, order: Order, found: Found) -> str:
        cluster = self._hands.cluster
        record = found.definition.record
        if cluster.look(order.host, order.vm) is not None:
            return f"VM {order.vm}: expected none of that name on {order.host}, found one"
        last = cluster.host(order.host).meter.last
        others: list[Definition] = (
            [] if last is None else [d.definition for d in last.domains.values() if d.active]
        )
        for other in others:
            theirs = other.record
            if record is not None and (
                record.primary == other.name or (theirs and theirs.primary == order.vm)
            ):
                return f"VM {order.vm}: expected {order.host} without its shadow or primary, found {other.name} there"
        if (
            last is not None
            and last.node.memory_known
            and not cluster.host(order.host).settings.shared_machine
        ):
            needs = found.definition.current_mib
            if needs > last.node.free_mib:
                return (
                    f"VM {order.vm}: expected {needs:.0f} MiB to be free on {order.host}, "
                    f"found {last.node.free_mib:.0f}"
                )
        return ""

    def _begin(self, order: Order, found: Found) -> Pending[None]:
        libvirt, cluster = library(), self._hands.cluster
        how = self._hands.settings.migration
        flags = libvirt.VIR_MIGRATE_LIVE
        if found.persistent:
            flags |= libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        for wanted, flag in (
            (how.auto_converge, libvirt.VIR_MIGRATE_AUTO_CONVERGE),
            (how.post_copy, libvirt.VIR_MIGRATE_POSTCOPY),
            (how.copy_disks, libvirt.VIR_MIGRATE_NON_SHARED_INC),
            (how.compressed, libvirt.VIR_MIGRATE_COMPRESSED),
            (how.parallel > 0, libvirt.VIR_MIGRATE_PARALLEL),
            (how.tls, libvirt.VIR_MIGRATE_TLS),
            (how.mode == "tunnelled", libvirt.VIR_MIGRATE_TUNNELLED),
        ):
            flags |= flag if wanted else 0
        words: dict[str, Any] = {}
        if how.bandwidth_mib_s > 0:
            words[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = max(1, round(how.bandwidth_mib_s))
        if how.parallel > 0:
            words[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = how.parallel
        destination = cluster.host(order.host)
        direct = how.mode == "direct"
        peer, here = destination.peer_uri, destination.connection.uri

        def move(conn: Any) -> None:
            domain = conn.lookupByName(order.vm)
            if how.downtime_ms > 0:
                try:
                    domain.migrateSetMaxDowntime(how.downtime_ms, 0)
                except libvirt.libvirtError as error:
                    self._hands.abilities.learn(found.host, "limit a migration's downtime", said(error))
            if direct:
                other = libvirt.open(here)
                try:
                    domain.migrate3(other, words, flags)
                finally:
                    other.close()
            else:
                domain.migrateToURI3(peer, words, flags | libvirt.VIR_MIGRATE_PEER2PEER)

        pending = cluster.host(found.host).connection.start(f"move {order.vm} to {order.host}", move)
        if how.post_copy:
            Pending(f"post-copy of {order.vm}", lambda: self._post_copy(order, found.host, pending))
        return pending

    def _post_copy(self, order: Order, host: str, job: Pending[None]) -> None:
        """After a while the guest goes over first, and its memory follows."""
        libvirt = library()
        wait = Deadline(self._hands.settings.migration.post_copy_after_s)
        while not job.ended:
            time.sleep(0.2)
            # Before the first page is sent QEMU has not taken the capability in, and refuses.
            progress = self.progress(order.vm, host)
            if not wait.over or progress is None or progress.sent_mib <= 0.0:
                continue
            try:
                self._hands.cluster.domain(host, order.vm, "post-copy", lambda d: d.migrateStartPostCopy(0))
                return
            except (WorldError, libvirt.libvirtError) as error:
                if not job.ended:
                    self._hands.abilities.learn(host, "post-copy", said(error))
                return

    def _moved(self, order: Order) -> None:
        """Note when it moved, and what the destination says of it."""
        libvirt, cluster = library(), self._hands.cluster

        def look(domain: Any) -> Mapping[str, Any]:
            told: Mapping[str, Any] = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
            return told

        try:
            told = cluster.domain(order.host, order.vm, "completed move of", look)
            self.completed[order.key] = Completed(
                int(told.get("time_elapsed", 0)),
                int(told.get("downtime", 0)),
                int(told.get("setup_time", 0)),
                told.get("data_processed", 0) / 2**20,
                int(told.get("memory_iteration", 0)),
            )
            found = cluster.look(order.host, order.vm)
            self._leave_no_disks(order.source, order)
            record: Record | None = None if found is None else found.definition.record
            if record is not None:
                self._hands.note(order.host, order.vm, replace(record, moved_s=self._hands.now_s()))
        except (WorldError, libvirt.libvirtError):
            return  # it has moved all the same: figures and time of it are a courtesy


def _discard(domain: Any) -> None:
    """End a domain that is only half of another, and what is stored of it."""
    if domain.isActive():
        domain.destroy()
    if domain.isPersistent():
        domain.undefineFlags(library().VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
