"""One boto3 client a process, and its failures in words.

Endpoint, region, profile and credentials come from where boto3 looks for them; nothing of them is stored.
"""

from __future__ import annotations

import os
import random
import socket
import time
import urllib.request
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError
from urllib3.exceptions import HTTPError

from curation.errors import StorageError
from curation.storage.traffic import count

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Tries of one request before it fails, unless AWS_MAX_ATTEMPTS says otherwise. Waits double from 1 to
#: 64 s, with jitter.
ATTEMPTS = 8
#: What boto3 raises, and what lies below it while a body is read.
FAILURES = (ClientError, Boto3Error, BotoCoreError, HTTPError)
#: Answers that mean: not there.
ABSENT = ("404", "NoSuchKey", "NotFound", "NoSuchUpload")
#: Answers to a condition that does not hold; 409 where another request with a condition is under way.
REFUSED = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict", "OperationAborted")
#: Answers of servers that do not know a request or a condition.
UNKNOWN = ("501", "NotImplemented")
_REMEDIES = {
    "NoSuchBucket": "make the bucket, or correct its name",
    "AccessDenied": "the credentials may list, read, write and delete there? `aws sts get-caller-identity` tells whose",
    "403": "the credentials may list, read, write and delete there? `aws sts get-caller-identity` tells whose",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID or the profile, and that they are for this server",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY or the profile",
    "ExpiredToken": "log in again",
    "PermanentRedirect": "set AWS_DEFAULT_REGION to the bucket's region",
    "SlowDown": "run the same command again later: finished parts are kept",
}
_LATER = "check AWS_ENDPOINT_URL and the network, and run the same command again: finished parts are kept"


def client() -> Any:
    """The boto3 client."""
    return _client(frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@cache
def _client(_settings: frozenset[tuple[str, str]]) -> Any:
    config = Config(connect_timeout=10, read_timeout=60, max_pool_connections=32, tcp_keepalive=True)
    if not {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} & set(os.environ):  # "standard" gives up where many fail at once
        config = config.merge(Config(retries={"mode": "legacy", "total_max_attempts": ATTEMPTS}))
    made = boto3.Session().client("s3", config=config)
    _refuse_nobody(made.meta.endpoint_url)
    return made


def _refuse_nobody(endpoint: str) -> None:
    """Raise at once where nothing listens or no such host is known, which boto3 would try again for a minute."""
    if urllib.request.getproxies():
        return
    place = urlsplit(endpoint)
    try:
        socket.create_connection((place.hostname, place.port or {"http": 80}.get(place.scheme, 443)), 10).close()
    except (ConnectionRefusedError, socket.gaierror) as error:
        raise EndpointConnectionError(endpoint_url=endpoint, error=error) from error
    except OSError:  # it may pass, and boto3 tries again
        return


def is_amazon() -> bool:
    """Whether the server is Amazon's own."""
    return str(urlsplit(client().meta.endpoint_url).netloc).endswith((".amazonaws.com", ".amazonaws.com.cn"))


def code_of(error: BaseException) -> str:
    """What the server answered instead: its name for it, or the HTTP status; "" where it was no answer."""
    if not isinstance(error, ClientError):
        return ""
    answer: Any = error.response
    return str(answer.get("Error", {}).get("Code") or answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def failure(action: str, path: str, error: BaseException) -> StorageError:
    """What went wrong, in words."""
    code = code_of(error)
    said = error.response.get("Error", {}).get("Message") if isinstance(error, ClientError) else None
    reason = f"{code}: {said}" if said else code or str(error)
    if isinstance(error, NoCredentialsError):
        remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or log in as boto3 expects it"
    else:
        remedy = _REMEDIES.get(code, _LATER)
    return StorageError(f"cannot {action} {path}: {reason}", remedy=remedy)


@contextmanager
def failing(action: str, path: str) -> Iterator[None]:
    """A block in which what boto3 raises becomes a `StorageError`."""
    try:
        yield
    except FAILURES as error:
        raise failure(action, path, error) from error


def passed(*, received: int = 0, sent: int = 0) -> None:
    """Count what went over the connection, unless it is encrypted: that the kernel counts."""
    if client().meta.endpoint_url.startswith("http:"):
        count(received, sent)


def fetch(bucket: str, key: str, span: str | None = None) -> tuple[bytes, dict[str, Any]]:
    """An object's bytes, or those of a range like `bytes=0-99`, and the answer's head.

    A body that is cut short is asked for again, which boto3 does not do. Raises what boto3 raises.
    """
    asked = {} if span is None else {"Range": span}
    for attempt in range(ATTEMPTS):
        answer = client().get_object(Bucket=bucket, Key=key, **asked)
        try:
            body = answer["Body"].read()
        except (BotoCoreError, HTTPError):  # cut, timed out, or not what its checksum says
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, min(20, 0.1 * 2**attempt)))  # noqa: S311  # jitter
        else:
            passed(received=len(body))
            return body, answer
    raise AssertionError  # unreachable
