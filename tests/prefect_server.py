"""A Prefect server of a test's own on loopback, and how a test speaks to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(home: Path, **more: str) -> Iterator[dict[str, str]]:
    """The variables under which `prefect` speaks to a server that runs meanwhile; `more` are set for it too."""
    port = free_port()
    variables = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        "CURATE_CHECKOUT": str(ROOT),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=variables, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 300  # 10 s, on a machine that does nothing else
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2)
                    break
                except OSError:
                    assert server.poll() is None, (home / "server.log").read_text()
                    assert time.monotonic() < deadline, (home / "server.log").read_text()
                    time.sleep(0.3)
            yield variables
        finally:
            server.terminate()
            server.wait(timeout=30)


def prefect(environment: dict[str, str], *arguments: str, **more: str) -> str:
    """What a `prefect` command prints; it must succeed."""
    done = subprocess.run([sys.executable, "-m", "prefect", *arguments], env={**environment, **more}, cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(environment: dict[str, str], path: str, body: dict[str, object]) -> list[dict[str, object]]:
    """The answer of the server's API to a filter."""
    request = urllib.request.Request(  # noqa: S310  # a server of ours on loopback
        f"{environment['PREFECT_API_URL']}/{path}/filter",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: list[dict[str, object]] = json.load(answer)
    return found
