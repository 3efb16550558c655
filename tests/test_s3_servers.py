"""The S3 servers that other tests rely on do what S3 does; the proxy makes them fail as asked."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, RemoteDisconnected
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from s3_servers import Fault, FaultyProxy, chance, hit

if TYPE_CHECKING:
    from s3_servers import S3Server

BODY = bytes(range(256)) * 1000


def code(error: pytest.ExceptionInfo[ClientError]) -> int:
    """The HTTP status of an answer that boto3 raised."""
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


# ------------------------------------------------------------------------------------------------------------- servers


def test_objects(s3: S3Server) -> None:
    """What is put is got, whole and in ranges, is listed page by page, copied and deleted."""
    client = s3.client()
    names = [f"a/{n:02}" for n in range(5)]
    for name in [*names, "b"]:
        etag = client.put_object(Bucket=s3.bucket, Key=name, Body=BODY)["ETag"]
        assert etag.strip('"') == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert client.get_object(Bucket=s3.bucket, Key="b")["Body"].read() == BODY
    for asked, got in (("bytes=10-19", BODY[10:20]), ("bytes=255990-", BODY[-10:]), ("bytes=-1000", BODY[-1000:])):
        assert client.get_object(Bucket=s3.bucket, Key="b", Range=asked)["Body"].read() == got
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=s3.bucket, Prefix="a/", PaginationConfig={"PageSize": 2}
    )
    assert [[one["Key"] for one in page["Contents"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    client.copy_object(Bucket=s3.bucket, Key="c", CopySource={"Bucket": s3.bucket, "Key": "b"})
    assert client.head_object(Bucket=s3.bucket, Key="c")["ContentLength"] == len(BODY)
    assert "Errors" not in client.delete_objects(
        Bucket=s3.bucket, Delete={"Objects": [{"Key": name} for name in [*names, "b"]]}
    )
    client.delete_object(Bucket=s3.bucket, Key="c")
    assert client.list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket=s3.bucket, Key="c")
    assert code(error) == 404


def test_multipart(s3: S3Server) -> None:
    """20 MB go up in parts and come back; an upload that is given up leaves no object and is listed until then."""
    client, data = s3.client(), os.urandom(20_000_000)
    client.upload_fileobj(BytesIO(data), s3.bucket, "big", Config=TransferConfig(multipart_chunksize=8_000_000))
    head = client.head_object(Bucket=s3.bucket, Key="big")
    assert head["ETag"].strip('"').endswith("-3")
    assert head["ContentLength"] == len(data)
    into = BytesIO()
    client.download_fileobj(s3.bucket, "big", into)
    assert into.getvalue() == data
    upload = client.create_multipart_upload(Bucket=s3.bucket, Key="given up")["UploadId"]
    client.upload_part(Bucket=s3.bucket, Key="given up", UploadId=upload, PartNumber=1, Body=data[: 5 << 20])
    listed = client.list_multipart_uploads(Bucket=s3.bucket)["Uploads"]
    assert [(one["Key"], one["UploadId"]) for one in listed] == [("given up", upload)]
    client.abort_multipart_upload(Bucket=s3.bucket, Key="given up", UploadId=upload)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=s3.bucket)
    assert [one["Key"] for one in client.list_objects_v2(Bucket=s3.bucket)["Contents"]] == ["big"]
    client.delete_object(Bucket=s3.bucket, Key="big")
    assert client.list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0


def test_put_if_absent(s3: S3Server) -> None:
    """The second who puts under a name that must be new is told 412, and the first one's bytes stay."""
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="claim", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket=s3.bucket, Key="claim", Body=b"second", IfNoneMatch="*")
    assert code(error) == 412
    assert client.get_object(Bucket=s3.bucket, Key="claim")["Body"].read() == b"first"


def test_put_if_unchanged(s3: S3Server) -> None:
    """A put over another's ETag is refused and changes nothing: 412 by moto, 501 by Swift, which has no such put."""
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="pointer", Body=b"first")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket=s3.bucket, Key="pointer", Body=b"second", IfMatch='"0123456789abcdef0123456789abcdef"')
    assert code(error) == (412 if s3.access_key == "test" else 501)
    assert client.get_object(Bucket=s3.bucket, Key="pointer")["Body"].read() == b"first"


def test_buckets_are_fresh(s3: S3Server) -> None:
    """Each test has a bucket of its own, empty, and the environment that leads there."""
    assert s3.client().list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0
    assert s3.with_bucket().bucket != s3.bucket
    assert s3.environment()["AWS_ENDPOINT_URL"] == s3.endpoint


SESSION = """
import s3_servers
def test_hangs({name}):
    print("ready", flush=True)
    import time
    time.sleep(600)
"""


@pytest.mark.parametrize("name", ["moto_server", "swift_server"])
def test_nothing_is_left_behind(name: str, tmp_path: Path) -> None:
    """A test session that is killed takes its servers with it."""
    (tmp_path / "test_session.py").write_text(SESSION.format(name=name))
    session = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-s",
            "-p",
            "s3_servers",
            f"--basetemp={tmp_path}/base",
            "test_session.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with session:
        assert session.stdout is not None
        assert any("ready" in line for line in session.stdout)
        started = children(session.pid)
        session.send_signal(signal.SIGKILL)
    assert len(started) == {"moto_server": 1, "swift_server": 4}[name]
    deadline = time.monotonic() + 10
    while any(map(is_running, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, started))


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie, whose command line is empty."""
    line = Path(f"/proc/{pid}/cmdline")
    return line.exists() and line.read_bytes() != b""


# -------------------------------------------------------------------------------------------------------------- faults


def raw(server: S3Server, method: str, key: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own, tried once."""
    what = {"Bucket": server.bucket, "Key": key}
    url = urlsplit(server.client().generate_presigned_url(f"{method.lower()}_object", what))
    connection = HTTPConnection(url.netloc, timeout=20)
    try:
        connection.request(method, f"{url.path}?{url.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_proxy_without_a_plan_changes_nothing(s3: S3Server) -> None:
    """Everything goes through, signed as for the proxy, and is in its log."""
    with FaultyProxy(s3) as proxy:
        client = proxy.server.client()
        client.upload_fileobj(
            BytesIO(BODY * 50),
            s3.bucket,
            "big",
            Config=TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=5 << 20),
        )
        assert client.get_object(Bucket=s3.bucket, Key="big")["Body"].read() == BODY * 50
        client.put_object(Bucket=s3.bucket, Key="claim", Body=BODY, IfNoneMatch="*")
        with pytest.raises(ClientError) as error:
            client.put_object(Bucket=s3.bucket, Key="claim", Body=BODY * 40, IfNoneMatch="*")
        assert code(error) == 412
        assert not client.delete_objects(Bucket=s3.bucket, Delete={"Objects": [{"Key": "big"}]}).get("Errors")
        assert [one["Key"] for one in client.list_objects_v2(Bucket=s3.bucket)["Contents"]] == ["claim"]
    assert not proxy.faults
    assert Counter(method for method, _, _ in proxy.log) == {"POST": 3, "PUT": 5, "GET": 2}


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (Fault.INTERNAL_ERROR, 500, b"<Code>InternalError</Code>"),
        (Fault.UNAVAILABLE, 503, b"<Code>ServiceUnavailable</Code>"),
        (Fault.SLOW_DOWN, 503, b"<Code>SlowDown</Code>"),
        (Fault.TOO_MANY, 429, b"<Code>TooManyRequests</Code>"),
    ],
)
def test_answers_that_fail(moto: S3Server, fault: Fault, status: int, said: bytes) -> None:
    """The asked error comes once, the server hears nothing of it, and the next request passes."""
    with FaultyProxy(moto, hit(fault, "PUT", r"/key\?")) as proxy:
        got, body = raw(proxy.server, "PUT", "key", BODY)
        assert (got, said in body) == (status, True)
        assert raw(moto, "GET", "key")[0] == 404
        assert raw(proxy.server, "PUT", "key", BODY)[0] == 200
        assert raw(moto, "GET", "key") == (200, BODY)
    assert proxy.faults == {fault: 1}


@pytest.mark.parametrize(
    ("fault", "errors", "done"),
    [
        (Fault.CUT_BEFORE, (RemoteDisconnected, ConnectionError), False),
        (Fault.CUT_REQUEST, (RemoteDisconnected, ConnectionError), False),
        (Fault.CUT_RESPONSE, (BadStatusLine, IncompleteRead), True),
        (Fault.LOSE_RESPONSE, (RemoteDisconnected,), True),
    ],
)
def test_cut_connections(moto: S3Server, fault: Fault, errors: tuple[type[Exception], ...], done: bool) -> None:
    """The client sees its connection end; whether the server did the work is what tells the faults apart."""
    with FaultyProxy(moto, hit(fault)) as proxy:
        with pytest.raises(errors):
            raw(proxy.server, "PUT", "key", BODY)
        assert (raw(moto, "GET", "key") == (200, BODY)) is done
        assert raw(proxy.server, "PUT", "key", BODY)[0] == 200
    assert proxy.faults == {fault: 1}


def test_half_a_body(moto: S3Server) -> None:
    """A body that is cut announced its whole length, and half of it came."""
    raw(moto, "PUT", "key", BODY)
    with FaultyProxy(moto, hit(Fault.CUT_RESPONSE, "GET")) as proxy:
        with pytest.raises(IncompleteRead) as error:
            raw(proxy.server, "GET", "key")
        assert (error.value.partial, error.value.expected) == (BODY[: len(BODY) // 2], len(BODY) // 2)


def test_a_delay(moto: S3Server) -> None:
    """A late answer is the right one."""
    raw(moto, "PUT", "key", BODY)
    with FaultyProxy(moto, hit(Fault.DELAY)) as proxy:
        started = time.monotonic()
        assert raw(proxy.server, "GET", "key") == (200, BODY)
        assert time.monotonic() - started >= 0.2


def test_plans() -> None:
    """Chance strikes as often as asked and the same request seldom; a hit strikes what it is meant for."""
    plan = chance(0.2, seed=3, kinds=(Fault.SLOW_DOWN, Fault.CUT_BEFORE))
    first = [plan("GET", f"/bucket/{n}", 0) for n in range(5000)]
    struck = Counter(filter(None, first))
    assert set(struck) == {Fault.SLOW_DOWN, Fault.CUT_BEFORE}
    assert all(430 < count < 570 for count in struck.values())
    assert first == [plan("GET", f"/bucket/{n}", 0) for n in range(5000)]
    assert first != [chance(0.2, seed=4)("GET", f"/bucket/{n}", 0) for n in range(5000)]
    always = chance(1, at_most=2)
    assert [always("GET", "/bucket/a", n) is None for n in range(4)] == [False, False, True, True]
    once = hit(Fault.DELAY, "PUT", r"manifest\.json", times=2)
    asked = [("GET", "/b/manifest.json"), ("PUT", "/b/part"), *[("PUT", "/b/manifest.json")] * 3]
    assert [bool(once(*what, 0)) for what in asked] == [False, False, True, True, False]


def test_boto3_gets_through(s3: S3Server) -> None:
    """Eight threads with boto3's own retries put and get the right bytes though one request in five fails."""
    kinds = [one for one in Fault if one not in {Fault.TOO_MANY, Fault.CUT_RESPONSE}]
    bodies = {f"key{n}": hashlib.sha256(bytes([n])).digest() * (1 << n % 16) for n in range(64)}
    with FaultyProxy(s3, chance(0.2, seed=7, kinds=kinds)) as proxy:
        client = proxy.server.client(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=8)

        def there_and_back(key: str) -> bool:
            client.put_object(Bucket=s3.bucket, Key=key, Body=bodies[key])
            return client.get_object(Bucket=s3.bucket, Key=key)["Body"].read() == bodies[key]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(there_and_back, bodies))
    assert set(proxy.faults) == set(kinds)
    assert sum(proxy.faults.values()) > 12


def test_a_proxy_ends(moto: S3Server) -> None:
    """No thread of the proxy outlives it, though a client still holds its connection."""
    before = threading.active_count()
    with FaultyProxy(moto) as proxy:
        address = urlsplit(proxy.server.endpoint)
        connection = HTTPConnection(str(address.hostname), int(address.port or 0))
        connection.request("GET", "/")
        connection.getresponse().read()
        assert threading.active_count() > before
    assert threading.active_count() == before
    connection.close()
