"""infra/audit.py against a server on loopback that answers as OSV does, and without one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIT = Path(__file__).parents[1] / "infra" / "audit.py"


class Osv(BaseHTTPRequestHandler):
    """Knows of two holes, in one version of one package."""

    holes = {("urllib3", "1.26.4"): ["PYSEC-2021-108", "GHSA-q2q7-5pp4-w6pg"]}  # noqa: RUF012
    asked: list[Any] = []  # noqa: RUF012
    status, other = 200, b""

    def do_POST(self) -> None:
        """What OSV answers to /v1/querybatch, in the order of the queries."""
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.asked += queries
        found = [self.holes.get((one["package"]["name"], one["version"]), []) for one in queries]
        results = [{"vulns": [{"id": name, "modified": "2024-01-01T00:00:00Z"} for name in ids]} if ids else {}
                   for ids in found]  # fmt: skip
        self.send_response(self.status if self.path == "/v1/querybatch" else 404)
        self.end_headers()
        self.wfile.write(self.other or json.dumps({"results": results}).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's address."""
    monkeypatch.setattr(Osv, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def audit(*options: str) -> tuple[int, str]:
    """Its exit status and what it says."""
    done = subprocess.run([sys.executable, str(AUDIT), *options], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_locked_package_is_asked_for(osv: str) -> None:
    """With its version, and a clean lock is said to be one."""
    status, said = audit("--service", osv)
    lock = AUDIT.with_name("requirements.txt").read_text()
    assert status == 0
    assert len(Osv.asked) == lock.count("==") > 100
    assert f"{len(Osv.asked)} packages of requirements.txt, 0 with known vulnerabilities" in said
    assert {one["package"]["ecosystem"] for one in Osv.asked} == {"PyPI"}
    assert all(f"{one['package']['name']}==" in lock.replace("[", "==") for one in Osv.asked)


def test_a_known_vulnerability_fails(osv: str, tmp_path: Path) -> None:
    """The package and what is known of it are named."""
    pinned = ("idna==3.11", "urllib3[socks]==1.26.4", "tzdata==2026.6 ; sys_platform == 'win32'")
    (tmp_path / "lock.txt").write_text("".join(f"{one} \\\n    --hash=sha256:00\n    # via x==1\n" for one in pinned))
    status, said = audit("--service", osv, "--lock", str(tmp_path / "lock.txt"))
    assert status == 1
    assert said == (
        "urllib3 1.26.4: GHSA-q2q7-5pp4-w6pg, PYSEC-2021-108\n3 packages of lock.txt, 1 with known vulnerabilities\n"
    )


def test_a_service_that_is_not_reached_is_said(osv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, or the server is busy: nothing was audited, and nothing is wrong with the lock."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        status, said = audit("--service", f"http://127.0.0.1:{held.getsockname()[1]}")
    assert status == 0
    assert said.startswith("not audited: http://127.0.0.1:")
    monkeypatch.setattr(Osv, "status", 503)
    assert (audited := audit("--service", osv))[0] == 0
    assert audited[1].startswith("not audited: ")


@pytest.mark.parametrize(
    ("status", "other"), [(400, b"{}"), (200, b"<html>log in</html>"), (200, b'{"results": []}'), (200, b"[]")]
)
def test_an_answer_that_is_none_fails(osv: str, monkeypatch: pytest.MonkeyPatch, status: int, other: bytes) -> None:
    """An answer that says nothing of the packages is not taken for a clean one."""
    monkeypatch.setattr(Osv, "status", status)
    monkeypatch.setattr(Osv, "other", other)
    ended, said = audit("--service", osv)
    assert ended == 2
    assert "none of OSV's" in said
    assert "0 with" not in said


def test_an_empty_lock_is_refused(osv: str, tmp_path: Path) -> None:
    """It would be clean."""
    (tmp_path / "lock.txt").write_text("# nothing\n")
    status, said = audit("--service", osv, "--lock", str(tmp_path / "lock.txt"))
    assert status == 1
    assert "no package is locked" in said
