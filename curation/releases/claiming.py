"""Making a version one's own before anything is written there, and moving the pointer to it when all is."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from curation import tokenised
from curation.errors import ReleaseError
from curation.releases.place import Release, latest, order, releases

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.storage import Storage


def claim(
    storage: Storage, name: str, wanted: str | None, mine: dict[str, str], newest: Release | None,
    confirm: Callable[[], None],
) -> Release:  # fmt: skip
    """The version to publish: one that this workspace began and did not finish, else a new one, claimed.

    `mine` is the `fingerprint` of what is to be published and the `workspace` that does it; `wanted` the version that
    the user asks for. What this workspace began from something else is taken over or emptied, but its claim is never
    removed: whoever claimed the version then would lose files to a removal that comes late. Raises `ReleaseError` where
    the version is another's.
    """
    data = json.dumps(mine, sort_keys=True).encode()
    confirm()
    begun: dict[str, bytes] = {}
    for release in releases(storage, name):
        there = storage.read(f"{release.folder}/claim.json") or b"{}"
        its = release.claim() or {}
        resumable = its == mine and wanted in (None, release.version)
        if release.manifest() is not None:
            if resumable and (newest is None or order(newest.version) < order(release.version)):
                return release
        elif release.removal() is not None:  # it was published once: its version is never used again
            continue
        elif resumable:
            return release
        elif its.get("workspace") == mine["workspace"]:
            begun[release.version] = there
            _empty(release)
    day = today()
    versions = [wanted] if wanted else [day, *(f"{day}.{number}" for number in range(2, 1000))]
    for version in versions:
        release = Release(storage, name, version)
        claimed = f"{release.folder}/claim.json"
        if storage.swap(claimed, data, begun[version]) if version in begun else storage.create(claimed, data):
            _empty(release)  # what a removal that was killed left: a reader would find it
            return release
    raise _taken(Release(storage, name, versions[0]))


def today() -> str:
    """The version of the first release of this day, which is that of UTC."""
    return datetime.now(UTC).strftime("%Y.%m.%d")


def _taken(release: Release) -> ReleaseError:
    if release.manifest() is None and release.removal() is None:
        return ReleaseError(
            f"{release.path}: another workspace began this version and has not finished it",
            remedy=f"wait for it; if that workspace is gone for good, remove what it left: rm -r {release.path}",
        )
    day, number = order(release.version)
    return ReleaseError(
        f"{release.path}: this version is taken, and a release is never changed",
        remedy=f'ask for another: --set release.version="{day}.{number + 1}", or leave version out',
    )


def _empty(release: Release) -> None:
    """Remove what was made for a claim; the claim stays."""
    for name in ("data", tokenised.FOLDER, "tokenizer.json", "report.html", "README.md"):
        release.storage.remove(f"{release.folder}/{name}")


def point(release: Release, manifest: bytes) -> None:
    """Move latest.json to this release, unless a newer one is there: the pointer never goes back."""
    name = f"{release.name}/latest.json"
    entry = {"version": release.version, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
    data = json.dumps(entry, sort_keys=True).encode()
    while True:
        there = release.storage.read(name)
        now = latest(release.storage, release.name)
        if now is not None and order(now.version) > order(release.version):
            return
        if release.storage.swap(name, data, there):
            return
