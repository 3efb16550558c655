"""A place in S3 as a storage: objects put whole, claimed by conditional writes that are read back.

Credentials, region and endpoint (AWS_ENDPOINT_URL) come from where boto3 looks for them.
"""

from __future__ import annotations

import atexit
import errno
import glob
import hashlib
import io
import os
import re
import shutil
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from curation.errors import RecipeError, StorageError
from curation.storage.client import (
    ABSENT,
    FAILURES,
    REFUSED,
    UNKNOWN,
    client,
    code_of,
    failing,
    failure,
    fetch,
    is_amazon,
    passed,
)
from curation.storage.file import TRIED, File
from curation.storage.lease import LEASE, held, is_alive
from curation.storage.stream import ObjectStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader


Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Parts that are sent at a time, each held in memory.
_SENDING = 4
#: Names the folder for copies to the workers.
_SHARED = "CURATE_SCRATCH"
#: Requests that are under way at a time when many small ones are made.
_WAITING = 16
#: Files from this size on are sent in parts of it, four at a time.
PART_BYTES = 16 * 1024 * 1024
#: The metadata by which a writer knows an object for its own, when the answer to its request was lost.
_WRITER = "curate-writer"
#: Rounds and writers of the race that tells whether a server lets more than one of them win.
_ROUNDS, _RACERS = 6, 8


@dataclass(frozen=True, slots=True)
class Bucket:
    """`s3://bucket/prefix`; the bucket must exist.

    `single_writer` is the word of the user that nobody else writes; `options` go with every object that is written.
    """

    bucket: str
    prefix: str
    single_writer: bool = False
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def at(cls, place: str, *, single_writer: bool = False, options: tuple[tuple[str, str], ...] = ()) -> Bucket:
        """The place that a URL names; `RecipeError` if it is none."""
        found = re.fullmatch(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(.*))?", place, re.DOTALL)
        steps = (found.group(2) or "").strip("/").split("/") if found else []
        if not found or any(step in (".", "..") for step in steps) or (len(steps) > 1 and "" in steps):
            raise RecipeError(f"{place}: not a place in S3", remedy="write it as s3://bucket or s3://bucket/prefix")
        return cls(found.group(1), "/".join(steps), single_writer, options)

    def __str__(self) -> str:
        return self.root

    @property
    def root(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def identity(self) -> str:
        """The server, the bucket and the prefix."""
        with failing("reach", self.root):
            return f"{client().meta.endpoint_url}/{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def scratch(self) -> str:
        """A folder of its own in one of this process and its workers, which only this user can read."""
        return f"{_scratch()}/{hashlib.sha256(self.identity.encode()).hexdigest()[:16]}"

    def local_path(self, name: str) -> None:  # noqa: ARG002  # nothing of it lies here
        """None: the objects lie elsewhere."""
        return

    def path(self, name: str) -> str:
        """The object's URL."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        return self.head(name) is not None

    def read(self, name: str) -> bytes | None:
        """The whole object, None where there is none."""
        found = self._get(name)
        return found and found[0]

    def open(self, name: str, *, from_end: bool = False) -> BufferedReader | None:
        """A seekable stream that reads in ranges, None where there is no object."""
        with failing("read", self.path(name)):
            try:
                return io.BufferedReader(ObjectStream(self.bucket, self._key(name), from_end=from_end))
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    @contextmanager
    def reading(self, name: str) -> Iterator[BufferedReader]:
        """The object opened for reading, as a context manager."""
        stream = self.open(name)
        if stream is None:
            raise StorageError(f"cannot read {self.path(name)}: there is no such object", remedy="check the path")
        with stream:
            yield stream

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file of this machine that is sent when the block ends well, in parts where it is large, with checksums.

        A sending that fails is aborted; what a killed one left `sweep` removes.
        """
        with _spooling(self.path(name)), tempfile.TemporaryFile() as stream:
            yield stream
            size = stream.tell()
            stream.seek(0)
            self._send(name, stream, size)

    def write(self, name: str, data: bytes) -> None:
        """Put the whole object, replacing one of the same name at once."""
        with failing("write", self.path(name)):
            client().put_object(Bucket=self.bucket, Key=self._key(name), Body=data, **dict(self.options))
            passed(sent=len(data))

    def copy(self, source: str, target: str) -> None:
        """Have the server copy an object, in parts where it is large."""
        there = self.head(source)
        if there is None:
            raise StorageError(f"cannot copy {self.path(source)}: there is no such object", remedy="check the path")
        of = {"Bucket": self.bucket, "Key": self._key(source)}
        with failing("copy", self.path(source)):
            client().copy(of, self.bucket, self._key(target), ExtraArgs=dict(self.options))
        head = self.head(target)
        if head is None or head["ContentLength"] != there["ContentLength"]:
            raise StorageError(f"{self.path(target)}: is not there as it was copied", remedy="run again")

    def create(self, name: str, data: bytes) -> bool:
        """Put the object if there is none of its name, and read back whose it is.

        Of several that try at once one is told True, on a server that `refuse_races` has passed.
        """
        return self._put_if(name, data, IfNoneMatch="*")

    def swap(self, name: str, data: bytes, expected: bytes | None) -> bool:
        """Replace the object if it still holds `expected` (None: if there is none); False if it does not."""
        found = self._get(name)
        if found is None or expected is None:
            return found is None and expected is None and self.create(name, data)
        if found[0] != expected:
            return False
        return self._put_if(name, data, IfMatch=found[1]["ETag"])

    @contextmanager
    def lock(self) -> Iterator[Callable[[], None]]:
        """The place, held by a lease that is renewed; a killed holder's ends after a time, on its machine at once."""
        with held(self) as confirm:
            yield confirm

    def refuse_races(self) -> None:
        """Raise `StorageError` where conditional writes do not hold, unless there is but one writer.

        Amazon's hold. Elsewhere it is tried out: some servers ignore the conditions, some let several of those that
        write at the same time win.
        """
        if not self.single_writer:
            with failing("write", self.root):
                fault = None if is_amazon() else _race(client().meta.endpoint_url, self.bucket, self.options)
            if fault:
                raise StorageError(
                    f"{self.root}: {fault}: two runs at once could publish the same version",
                    remedy="if no other run writes there, say so: single_writer = true in the recipe, or "
                    "--single-writer; else use a server whose conditional writes hold",
                )

    def files(self, folder: str = "", *, beginning: str = "") -> list[File]:
        """Every object below `folder` whose name there begins so, sorted by path."""
        prefix = self._key("")
        below = self._key(f"{folder}/{beginning}" if folder else beginning)
        return sorted(
            (File(one["Key"].removeprefix(prefix), one["Size"], one["ETag"]) for one in self.listed(below)),
            key=lambda file: file.path,
        )

    def listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Every object of the bucket whose key begins so, as S3 lists it."""
        with failing("list", self.root):
            for page in client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                yield from (one for one in page.get("Contents", ()) if not one["Key"].endswith("/"))

    def folders(self, folder: str = "") -> list[str]:
        """The steps that follow `folder` in the keys of objects, sorted."""
        prefix = self._key(f"{folder}/" if folder else "")
        found = []
        with failing("list", self.root):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
            for page in pages:
                found += [one["Prefix"].removeprefix(prefix).rstrip("/") for one in page.get("CommonPrefixes", ())]
        return sorted(found)

    def is_used(self) -> bool:
        """Whether there is any object, but the lease and what was tried."""
        own = (self._key(LEASE), self._key(TRIED))
        return any(not one["Key"].startswith(own) for one in self.listed(self._key("")))

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name."""
        keys = [one["Key"] for one in self.listed(self._key(name)) if _is_below(one["Key"], self._key(name))]
        with failing("remove", self.path(name)):
            for start in range(0, len(keys), 1000):
                _delete(self.bucket, keys[start : start + 1000])

    def each(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """`[function(item) for item in items]`, by threads that wait at the same time."""
        with ThreadPoolExecutor(_WAITING) as threads:
            return list(threads.map(function, items))

    def sweep(self, folder: str = "") -> None:
        """Abort what killed processes were sending below `folder`."""
        prefix = self._key(f"{folder}/" if folder else "")
        try:
            pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for upload in page.get("Uploads", ()):
                    self._abort(upload)
        except FAILURES as error:
            if code_of(error) not in UNKNOWN:  # such a server holds no halves
                raise failure("sweep", self.root, error) from error

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def head(self, name: str) -> dict[str, Any] | None:
        """What the server says of the object, None where there is none."""
        with failing("read", self.path(name)):
            try:
                answer: dict[str, Any] = client().head_object(Bucket=self.bucket, Key=self._key(name))
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        return answer

    def _get(self, name: str) -> tuple[bytes, dict[str, Any]] | None:
        with failing("read", self.path(name)):
            try:
                return fetch(self.bucket, self._key(name))
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def _send(self, name: str, stream: IO[bytes], size: int) -> None:
        """Send a file of this machine; what is there afterwards bears the mark of this writer."""
        mark = {_WRITER: uuid.uuid4().hex}
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=_SENDING)
        parts.max_in_memory_upload_chunks = _SENDING
        with failing("write", self.path(name)):
            try:
                more = {**dict(self.options), "Metadata": mark}
                client().upload_fileobj(stream, self.bucket, self._key(name), ExtraArgs=more, Config=parts)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":  # it was completed, and the answer was lost
                    raise
            passed(sent=size)
        head = self.head(name)
        if head is None or head["ContentLength"] != size or head.get("Metadata") != mark:
            raise StorageError(f"{self.path(name)}: is not there as it was sent", remedy="run again")

    def _put_if(self, name: str, data: bytes, **condition: str) -> bool:
        """Put the object under a condition; whether it was let through.

        A request whose answer was lost is sent again and then refused, for the object that it wrote itself: so the
        writer is asked for. It is asked for after a creation that was let through, too.
        """
        writer = uuid.uuid4().hex
        body = {"Bucket": self.bucket, "Key": self._key(name), "Body": data, "Metadata": {_WRITER: writer}}
        body |= dict(self.options)
        with failing("write", self.path(name)):
            try:
                client().put_object(**body, **condition)
                passed(sent=len(data))
                if "IfMatch" in condition:  # it may be replaced again at once, and by right
                    return True
            except ClientError as error:
                code = code_of(error)
                if code in ABSENT:  # it was to be replaced, and is gone
                    return False
                if code in UNKNOWN and self.single_writer:
                    client().put_object(**body)
                elif code not in REFUSED:
                    raise
        head = self.head(name)
        return head is not None and head.get("Metadata", {}).get(_WRITER) == writer

    def _abort(self, upload: dict[str, Any]) -> None:
        with suppress(ClientError):  # ended meanwhile
            client().abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _is_below(key: str, folder: str) -> bool:
    return not folder or key == folder or key.startswith(f"{folder.rstrip('/')}/")


@cache
def _scratch() -> str:
    """A private folder among this machine's temporary ones, gone at the end; workers learn of it from the environment.

    Those of processes that were killed are removed.
    """
    there = os.environ.get(_SHARED, "")
    if os.path.isdir(there):
        return there
    for left in glob.glob(f"{glob.escape(tempfile.gettempdir())}/curate-*-*"):
        pid = left.rpartition("/")[2].split("-")[1]
        with suppress(OSError):
            if pid.isdecimal() and os.stat(left).st_uid == os.getuid() and not is_alive(int(pid)):
                shutil.rmtree(left)
    folder = tempfile.mkdtemp(prefix=f"curate-{os.getpid()}-")
    os.environ[_SHARED] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _spooling(path: str) -> Iterator[None]:
    """A block in which a full temporary folder is said to be one."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StorageError(
            f"cannot write {tempfile.gettempdir()}, where {path} is made: {os.strerror(error.errno)}",
            remedy="free some space there, or set TMPDIR to a folder on a larger disk: finished parts are kept",
        ) from error


def _delete(bucket: str, keys: list[str]) -> None:
    try:
        answer = client().delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        keys = [one["Key"] for one in answer.get("Errors", ())]
    except ClientError as error:
        if code_of(error) not in (*UNKNOWN, "MissingContentMD5", "InvalidRequest", "MalformedXML"):
            raise
    for key in keys:
        client().delete_object(Bucket=bucket, Key=key)


@cache
def _race(_endpoint: str, bucket: str, options: tuple[tuple[str, str], ...]) -> str | None:
    """How the server's conditional writes fail, None if they seem to hold; what is tried is removed again."""
    place = Bucket(bucket, f"{TRIED}-{uuid.uuid4().hex}", options=options)
    try:
        with ThreadPoolExecutor(_RACERS) as threads:
            created = [_winners(threads, place, f"new-{number}", IfNoneMatch="*") for number in range(_ROUNDS)]
            if max(created) > 1:
                return f"the server let {max(created)} of {_RACERS} writers win that create the same object at once"
            place.write("old", b"")
            if not any(created):
                return "the server does not know If-None-Match"
            if _try(place, "old", IfNoneMatch="*"):
                return "the server ignores If-None-Match"
            if _try(place, "old", IfMatch='"00000000000000000000000000000000"'):
                return "the server ignores If-Match"
            replaced = [_winners(threads, place, "old", IfMatch=_etag(place, "old")) for _ in range(_ROUNDS)]
            if max(replaced) > 1:
                return f"the server let {max(replaced)} of {_RACERS} writers win that replace the same object at once"
            if not any(replaced):
                return "the server does not know If-Match"
    finally:
        place.remove("")
    return None


def _winners(threads: ThreadPoolExecutor, place: Bucket, name: str, **condition: str) -> int:
    """How many of several writers at once are let through."""
    return sum(one.result() for one in [threads.submit(_try, place, name, **condition) for _ in range(_RACERS)])


def _try(place: Bucket, name: str, **condition: str) -> bool:
    """Whether a conditional write is let through. One whose answer was lost is sent again, and then refused."""
    try:
        key, more = f"{place.prefix}/{name}", {**dict(place.options), **condition}
        client().put_object(Bucket=place.bucket, Key=key, Body=uuid.uuid4().bytes, **more)
    except ClientError as error:
        if code_of(error) in (*REFUSED, *UNKNOWN, *ABSENT):
            return False
        raise
    return True


def _etag(place: Bucket, name: str) -> str:
    return str((place.head(name) or {})["ETag"])
