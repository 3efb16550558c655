"""An object in S3 as a seekable stream: read in ranges that grow while it is read on, each tried again when cut."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from curation.errors import StorageError
from curation.storage.client import client, code_of, failing, fetch

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: The first request asks for so many bytes, each that follows on it for four times as many, up to the most.
FIRST, MOST = 256 * 1024, 8 * 1024 * 1024
#: Of an object that is read from its end, such as a part whose footer is wanted.
END = 64 * 1024


class ObjectStream(io.RawIOBase):
    """The object `key` of a bucket, its beginning or its end fetched at once.

    Raises what boto3 raises where it is not there, and `StorageError` later on, also where it is replaced meanwhile.
    """

    def __init__(self, bucket: str, key: str, *, from_end: bool = False) -> None:
        super().__init__()
        self.name = f"s3://{bucket}/{key}"
        self._bucket, self._key = bucket, key
        self._place = self._start = 0
        self._step = FIRST
        try:
            self._block, answer = fetch(bucket, key, f"bytes=-{END}" if from_end else f"bytes=0-{FIRST - 1}")
            self._size = int(answer.get("ContentRange", f"/{answer['ContentLength']}").rpartition("/")[2])
            self._start = self._size - len(self._block) if from_end else 0
        except ClientError as error:
            if code_of(error) not in ("416", "InvalidRange"):  # what an empty object answers
                raise
            self._block, self._size, answer = b"", 0, client().head_object(Bucket=bucket, Key=key)
        self._etag = answer["ETag"]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place that is read next."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is read yet."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Buffer) -> int:
        """As many bytes as the buffer holds or one request brings; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._place >= self._size:
            return 0
        if not self._start <= self._place < self._start + len(self._block):
            self._fetch(len(view))
        at = self._place - self._start
        data = self._block[at : at + len(view)]
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _fetch(self, wanted: int) -> None:
        follows = self._place == self._start + len(self._block)
        self._step = min(MOST, 4 * self._step) if follows else FIRST
        end = min(self._size, self._place + max(self._step, min(wanted, MOST)))
        with failing("read", self.name):
            self._block, answer = fetch(self._bucket, self._key, f"bytes={self._place}-{end - 1}")
        if answer["ETag"] != self._etag:
            raise StorageError(f"{self.name}: changed while it was being read", remedy="run again when it is complete")
        self._start = self._place
