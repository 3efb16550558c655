"""Whether OSV knows a vulnerability of a locked package: `python infra/audit.py [--service URL]`.

It ends with 1 where it does, with 2 where the service's answer is none, and with 0 where the service is not reached,
which it says: a machine without the internet audits nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

LOCK = Path(__file__).with_name("requirements.txt")
SERVICE = "https://api.osv.dev"
#: Packages that OSV takes at once, and seconds that it may take.
AT_ONCE, SECONDS = 1000, 30
#: Answers of something in between, or of a server that is busy.
_KEPT_AWAY = (403, 407, 429)


def main() -> None:
    """Ask, and say."""
    parser = argparse.ArgumentParser(prog="python infra/audit.py", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--service", default=SERVICE, help=f"an OSV server ({SERVICE})")
    parser.add_argument("--lock", type=Path, default=LOCK, help="the packages (requirements.txt beside this file)")
    options = parser.parse_args()
    packages = locked(options.lock.read_text(encoding="utf-8"))
    if not packages:
        sys.exit(f"{options.lock}: no package is locked there")
    try:
        known = vulnerabilities(packages, options.service)
    except HTTPError as error:
        if error.code < 500 and error.code not in _KEPT_AWAY:
            _refuse(options.service, str(error))
        print(f"not audited: {options.service} cannot be asked: {error}")
        return
    except (KeyError, TypeError, ValueError) as error:
        _refuse(options.service, f"{type(error).__name__}: {error}")
    except (OSError, HTTPException) as error:
        print(f"not audited: {options.service} is not reached: {error}")
        return
    for (name, version), ids in known.items():
        print(f"{name} {version}: {', '.join(ids)}")
    print(f"{len(packages)} packages of {options.lock.name}, {len(known)} with known vulnerabilities")
    sys.exit(1 if known else 0)


def locked(text: str) -> list[tuple[str, str]]:
    """Name and version of each package of a lock file."""
    return re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE)


def vulnerabilities(packages: list[tuple[str, str]], service: str) -> dict[tuple[str, str], list[str]]:
    """The ids of what is known of each package of which anything is."""
    known = {}
    for start in range(0, len(packages), AT_ONCE):
        some = packages[start : start + AT_ONCE]
        queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in some]
        for package, found in zip(some, _asked(service, queries), strict=True):
            if ids := sorted(one["id"] for one in found.get("vulns", ())):
                known[package] = ids
    return known


def _asked(service: str, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    asked = urllib.request.Request(  # noqa: S310  # where the caller says
        f"{service}/v1/querybatch",
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310
        results: list[dict[str, Any]] = json.load(answer)["results"]
    return results


def _refuse(service: str, why: str) -> None:
    print(f"{service}: an answer that is none of OSV's: {why}")
    sys.exit(2)


if __name__ == "__main__":
    main()
