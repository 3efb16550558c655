"""A place in S3 held by one process: an object that its holder renews, and that others take over when it does not."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from curation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.storage.bucket import Bucket

#: The object.
LEASE = "lease.json"
#: Seconds between renewals, and after which a lease that was not renewed is anybody's.
RENEWED, STALE = 20.0, 120.0


@contextmanager
def held(place: Bucket) -> Iterator[None]:
    """The place, held while the block lasts.

    Raises `StorageError` where another process holds it, and at the end if another took it meanwhile.
    """
    lease = _Lease(place)
    lease.take()
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        lost = lease.lost
        lease.give_back()
    if lost:
        raise StorageError(
            f"{place}: another run took this workspace over, since this one had not renewed its lease for {STALE:g} s",
            remedy="let one of the two end, then run again",
        )


class _Lease:
    """What a holder knows of its lease."""

    def __init__(self, place: Bucket) -> None:
        self.place = place
        self.lost = False
        self.beat = 0
        self.holder = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self.data = b""

    def take(self) -> None:
        """Make the lease this process's."""
        data = self._next()
        there = self.place.read(LEASE)
        taken = self.place.create(LEASE, data) if there is None else False
        if not taken:
            there = self.place.read(LEASE) if there is None else there
            if there is not None:
                self._refuse_live(there)
            taken = self.place.swap(LEASE, data, there)
        if not taken:
            raise _in_use(self.place, "a run that began at the same time")
        self.data = data

    def renew_until(self, ended: threading.Event) -> None:
        """Renew now and then; a server that does not answer is asked again."""
        while not ended.wait(RENEWED):
            with suppress(StorageError):
                data = self._next()
                if not self.place.swap(LEASE, data, self.data):
                    self.lost = self.place.read(LEASE) != data
                    if self.lost:
                        return
                self.data = data

    def give_back(self) -> None:
        """Remove the lease, if it still is this process's."""
        with suppress(StorageError):  # the next run finds it stale
            if not self.lost and self.place.read(LEASE) == self.data:
                self.place.remove(LEASE)

    def _next(self) -> bytes:
        self.beat += 1
        return json.dumps({**self.holder, "beat": self.beat}).encode()

    def _refuse_live(self, there: bytes) -> None:
        """Raise `StorageError` unless the holder is a dead process of this machine, or was silent for too long."""
        try:
            holder: dict[str, Any] = json.loads(there)
            host, pid = str(holder["host"]), int(holder["pid"])
        except (ValueError, KeyError, TypeError):
            host, pid = "?", 0
        if host == self.holder["host"] and not _is_alive(pid):
            return
        head = self.place.head(LEASE)
        if head is None:
            return
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])  # the server's clock, not ours
        silent = (now - head["LastModified"]).total_seconds()
        if silent < STALE:
            raise _in_use(
                self.place, f"process {pid} on {host}, last heard of {max(0, silent):.0f} s ago",
                f"; if it is dead, its hold ends {STALE:g} s after it was last heard of",
            )  # fmt: skip


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _in_use(place: Bucket, whom: str, more: str = "") -> StorageError:
    return StorageError(
        f"{place}: another run is using this workspace: {whom}",
        remedy=f"wait for it to end, or give this run a place of its own with --work{more}",
    )
