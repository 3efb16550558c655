"""How long a release is kept: pins, and removing old ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from curation.errors import ReleaseError
from curation.releases.place import Release, latest, order, parsed, releases

if TYPE_CHECKING:
    from curation.storage import Storage

#: What is left of a release that was removed: who made it, and why it is gone.
_STAYS = ("claim.json", "removed.json")


@dataclass(frozen=True, slots=True)
class Kept:
    """A release and why it is kept; one without reasons may go."""

    release: Release
    reasons: tuple[str, ...]


def pins(storage: Storage, name: str) -> dict[str, dict[str, Any]]:
    """Why and since when (`why`, `at`) which versions are pinned."""
    data = storage.read(f"{name}/pins.json")
    return parsed(data, storage.path(f"{name}/pins.json")) if data else {}


def pin(release: Release, why: str | None) -> None:
    """Pin a release, so that nothing removes it; None takes the pin away."""
    name = f"{release.name}/pins.json"
    while True:
        there = release.storage.read(name)
        now = pins(release.storage, release.name)
        if why is None:
            now.pop(release.version, None)
        else:
            now[release.version] = {"why": why, "at": _now()}
        if release.storage.swap(name, json.dumps(now, indent=1, ensure_ascii=False).encode(), there):
            return


def kept(storage: Storage, name: str, keep: int) -> list[Kept]:
    """The finished releases, newest first, and why each is kept where the newest `keep` are to be."""
    newest, pinned = latest(storage, name), pins(storage, name)
    finished = [one for one in reversed(releases(storage, name)) if one.manifest() is not None]
    needed = _stable_of(newest)
    found = []
    for place, release in enumerate(finished):
        reasons = []
        if release == newest:
            reasons.append("latest")
        elif newest is None or order(release.version) > order(newest.version):
            reasons.append("not latest yet")
        if release.version == needed:
            reasons.append("latest was decided by it: dedup.stable")
        if release.version in pinned:
            reasons.append(f"pinned: {pinned[release.version]['why']}")
        if place < keep:
            reasons.append(f"one of the newest {keep}")
        found.append(Kept(release, tuple(reasons)))
    return found


def _stable_of(release: Release | None) -> str | None:
    """The release whose documents stayed when this one was decided: running again asks for it."""
    manifest = (release.manifest() if release else None) or {}
    version: str | None = (manifest.get("stable") or {}).get("version")
    return version


def half_removed(storage: Storage, name: str) -> list[Release]:
    """Releases whose removal was begun and not ended."""
    return [release for release in releases(storage, name) if release.removal() is not None and _rest(release)]


def remove(release: Release, why: str) -> None:
    """Remove what a release holds, the manifest first, so that nobody takes what is left for a release.

    Its claim stays, so that the version is never used again, with `removed.json`, which says why it is gone. Raises
    `ReleaseError` for the latest release and for one that is pinned.
    """
    if latest(release.storage, release.name) == release:
        raise ReleaseError(f"{release.path}: is the latest release", remedy="publish another one first")
    if release.version in pins(release.storage, release.name):
        raise ReleaseError(
            f"{release.path}: is pinned: {pins(release.storage, release.name)[release.version]['why']}",
            remedy=f"take the pin away: curate releases pin {release.storage} {release.folder} --remove",
        )
    said = {"why": why, "at": _now()}
    release.storage.create(f"{release.folder}/removed.json", json.dumps(said, ensure_ascii=False).encode())
    release.storage.remove(f"{release.folder}/manifest.json")
    for name in _rest(release):
        release.storage.remove(name)


def _rest(release: Release) -> list[str]:
    stay = {f"{release.folder}/{name}" for name in _STAYS}
    return [file.path for file in release.storage.files(release.folder) if file.path not in stay]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
