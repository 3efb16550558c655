"""A place in S3 held by one process: an object that its holder renews, and that others take over when it does not."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curation.storage.bucket import Bucket

#: The object.
LEASE = "lease.json"
#: Seconds between renewals, and after which a lease that was not renewed is anybody's.
RENEWED, STALE = 20.0, 120.0


@contextmanager
def held(place: Bucket) -> Iterator[Callable[[], None]]:
    """The place, held while the block lasts; yields what raises `StorageError` when it is held no more.

    Raises `StorageError` where another process holds it. If another takes it over meanwhile, the main thread is
    interrupted, and `StorageError` says so.
    """
    lease = _Lease(place)
    lease.take()
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), daemon=True)
    renewing.start()
    try:
        yield lease.confirm
    except KeyboardInterrupt:
        if lease.lost:
            raise lease.lost_error() from None
        raise
    finally:
        ended.set()
        renewing.join(timeout=5)  # a request that hangs ends with the process
        lease.give_back()
    if lease.lost:
        raise lease.lost_error()


class _Lease:
    """What a holder knows of its lease."""

    def __init__(self, place: Bucket) -> None:
        self.place = place
        self.lost = False
        self.beat = 0
        self.holder = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self.confirmed = time.monotonic()
        self._interrupts = threading.current_thread() is threading.main_thread()

    def take(self) -> None:
        """Make the lease this process's."""
        there = self.place.read(LEASE)
        if there is None and self.place.create(LEASE, self._next()):
            return
        there = self.place.read(LEASE)
        if there is not None:
            self._refuse_live(there)
        if not self.place.swap(LEASE, self._next(), there):
            raise _in_use(self.place, "a run that began at the same time")
        self.confirmed = time.monotonic()

    def confirm(self) -> None:
        """Raise `StorageError` unless the lease is this process's, as the server says now."""
        there = self.place.read(LEASE)
        if self.lost or not self._is_mine(there):
            self.lost = True
            raise self.lost_error()
        self.confirmed = time.monotonic()

    def renew_until(self, ended: threading.Event) -> None:
        """Renew now and then, until the block ends or the lease is another's."""
        while not ended.wait(RENEWED):
            try:
                self._renew()
            except StorageError:  # a server that does not answer is asked again
                self.lost = time.monotonic() - self.confirmed > STALE
            except Exception:  # noqa: BLE001  # what is not renewed is lost
                self.lost = True
            if self.lost and not ended.is_set():
                if self._interrupts:  # a signal, so that it need not come to the end of what it waits for
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    def give_back(self) -> None:
        """Remove the lease, if it still is this process's."""
        with suppress(StorageError):  # the next run finds it stale
            if not self.lost and self._is_mine(self.place.read(LEASE)):
                self.place.remove(LEASE)

    def lost_error(self) -> StorageError:
        """What is said when another has it."""
        return StorageError(
            f"{self.place}: another run took this workspace over, since this one had not renewed its lease for "
            f"{STALE:g} s",
            remedy="let one of the two end, then run again",
        )

    def _renew(self) -> None:
        there = self.place.read(LEASE)
        if not self._is_mine(there):
            self.lost = True
        elif self.place.swap(LEASE, self._next(), there):
            self.confirmed = time.monotonic()

    def _next(self) -> bytes:
        self.beat += 1
        return json.dumps({**self.holder, "beat": self.beat}).encode()

    def _is_mine(self, there: bytes | None) -> bool:
        return _holder(there).get("id") == self.holder["id"]

    def _refuse_live(self, there: bytes) -> None:
        """Raise `StorageError` unless the holder is a dead process of this machine, or was silent for too long."""
        holder = _holder(there)
        host, pid = holder.get("host", "?"), holder.get("pid", 0)
        if holder.get("machine") == self.holder["machine"] and isinstance(pid, int) and not is_alive(pid):
            return
        head = self.place.head(LEASE)
        if head is None:
            return
        date = head["ResponseMetadata"]["HTTPHeaders"].get("date")  # the server's clock, not ours
        silent = (parsedate_to_datetime(date) - head["LastModified"]).total_seconds() if date else 0.0
        if silent < STALE:
            raise _in_use(
                self.place, f"process {pid} on {host}, last heard of {max(0, silent):.0f} s ago",
                f"; if it is dead, its hold ends {STALE:g} s after it was last heard of",
            )  # fmt: skip


def _holder(there: bytes | None) -> dict[str, Any]:
    try:
        holder = json.loads(there or b"{}")
    except ValueError:
        holder = {}
    return holder if isinstance(holder, dict) else {}


def _machine() -> str:
    """What tells apart machines, and containers on one, by which a process's number means something."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()} {boot.read_text().strip()} {space.readlink()}"
    except OSError:
        return f"{socket.gethostname()} {uuid.uuid4().hex}"  # nothing is known: as if it were another machine


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
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
