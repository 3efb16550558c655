"""A bucket as pyarrow sees it: Parquet read through `ObjectStream`.

Not through pyarrow's own S3: a body that is cut short ends its read (pyarrow 26: "Failed to flush response stream"),
and it finds credentials and endpoint in places of its own. What is written goes through `Bucket.writing`.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from botocore.exceptions import ClientError
from pyarrow.fs import FileInfo, FileSystemHandler, FileType, PyFileSystem

from curation.storage.client import ABSENT, code_of, failing
from curation.storage.stream import ObjectStream

if TYPE_CHECKING:
    from collections.abc import Sequence


@cache
def filesystem() -> PyFileSystem:
    """What reads `bucket/key`; a pyarrow file system that reads alone."""
    return PyFileSystem(_Objects())


class _Objects(FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """The few calls that reading a list of files needs."""

    def get_type_name(self) -> str:
        return "curate-s3"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[Any]:
        return [FileInfo(path, FileType.File) for path in paths]

    def open_input_file(self, path: str) -> Any:
        bucket, _, key = path.partition("/")
        with failing("read", f"s3://{path}"):
            try:
                return pa.PythonFile(io.BufferedReader(ObjectStream(bucket, key, from_end=True)), mode="r")
            except ClientError as error:
                if code_of(error) in ABSENT:
                    raise FileNotFoundError(path) from error
                raise

    open_input_stream = open_input_file

    def _refuse(self, *_arguments: Any) -> Any:
        raise NotImplementedError("this file system reads files that are named")

    get_file_info_selector = open_output_stream = open_append_stream = create_dir = delete_dir = _refuse
    delete_dir_contents = delete_root_dir_contents = delete_file = move = copy_file = _refuse
