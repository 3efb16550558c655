"""Where releases lie: their names, versions and manifests, and finding one by what a person calls it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import ReleaseError, UsageError
from curation.storage import open_storage

if TYPE_CHECKING:
    from curation.storage import Storage

VERSION_PATTERN = re.compile(r"(\d{4}\.\d{2}\.\d{2})(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Release:
    """A release's folder: `name/version` in a storage."""

    storage: Storage
    name: str
    version: str

    @property
    def folder(self) -> str:
        """Relative to the storage."""
        return f"{self.name}/{self.version}"

    @property
    def path(self) -> str:
        """Absolute."""
        return self.storage.path(self.folder)

    def manifest(self) -> dict[str, Any] | None:
        """What the release holds; None while it is not published."""
        data = self.storage.read(f"{self.folder}/manifest.json")
        return None if data is None else parsed(data, f"{self.path}/manifest.json")

    def removal(self) -> dict[str, Any] | None:
        """When and why what it held was removed; None unless it was."""
        data = self.storage.read(f"{self.folder}/removed.json")
        return None if data is None else parsed(data, f"{self.path}/removed.json")

    def claim(self) -> dict[str, Any] | None:
        """Who began to publish it."""
        data = self.storage.read(f"{self.folder}/claim.json")
        return None if data is None else parsed(data, f"{self.path}/claim.json")


def parsed(data: bytes, path: str) -> dict[str, Any]:
    """The object that a small file of a release holds; `ReleaseError` where it is no JSON."""
    try:
        value: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise ReleaseError(f"{path}: not JSON: {error}", remedy="restore that file from a copy") from error
    return value


def order(version: str) -> tuple[str, int]:
    """A key that sorts versions by age.

    >>> sorted(["2026.11.23.10", "2026.11.23", "2026.11.23.2"], key=order)
    ['2026.11.23', '2026.11.23.2', '2026.11.23.10']
    """
    found = VERSION_PATTERN.fullmatch(version)
    return (found.group(1), int(found.group(2) or 1)) if found else (version, 0)


def releases(storage: Storage, name: str) -> list[Release]:
    """Every version of a release, oldest first, unfinished ones included."""
    versions = [version for version in storage.folders(name) if VERSION_PATTERN.fullmatch(version)]
    return [Release(storage, name, version) for version in sorted(versions, key=order)]


def names(storage: Storage) -> list[str]:
    """The names that have releases here."""
    return [name for name in storage.folders() if releases(storage, name)]


def latest(storage: Storage, name: str) -> Release | None:
    """The release that `latest.json` points to."""
    data = storage.read(f"{name}/latest.json")
    if data is None:
        return None
    return Release(storage, name, parsed(data, storage.path(f"{name}/latest.json"))["version"])


def find(storage: Storage, wanted: str | None) -> Release:
    """The release called `NAME`, `NAME/VERSION` or, where there is one name only, nothing.

    Raises `ReleaseError` when there is none.
    """
    known = names(storage)
    name, _, version = (wanted or "").partition("/")
    if not name and len(known) == 1:
        name = known[0]
    if not name or name not in known:
        there = f"there are {', '.join(known)}" if known else "there is no release"
        raise ReleaseError(f"{storage}: {there}", remedy="name one of them, as NAME or NAME/VERSION")
    versions = {one.version: one for one in releases(storage, name)}
    release = versions.get(version) if version else latest(storage, name)
    if release is not None and (removal := release.removal()):
        raise ReleaseError(
            f"{release.path}: was removed on {removal['at']}: {removal['why']}",
            remedy=f"take another: curate releases list {storage}",
        )
    if release is None or release.manifest() is None:
        finished = [one.version for one in versions.values() if one.manifest() is not None]
        raise ReleaseError(
            f"{storage.path(name)}: no finished release {version or 'yet'}",
            remedy=f"there are {', '.join(finished)}" if finished else "publish one with `curate run`",
        )
    return release


def named(place: str) -> Release:
    """The finished release that a place names.

    A place is `FOLDER/NAME@VERSION`, a release's own folder, or `FOLDER` or `FOLDER/NAME` for the latest one; each of
    them a path or s3://….

    Raises `UsageError` where there is no such folder, `ReleaseError` where there is no such release.

    >>> named("no/such/book@2026.01.01")
    Traceback (most recent call last):
    ...
    curation.errors.UsageError: no/such: there is no such folder
    """
    place = place.rstrip("/")
    before, at, version = place.rpartition("@")
    if at and (VERSION_PATTERN.fullmatch(version) or version == "latest"):
        root, name = _parent(before)
        return find(_there(root), name if version == "latest" else f"{name}/{version}")
    root, last = _parent(place)
    if VERSION_PATTERN.fullmatch(last) and not open_storage(place).folders(last):
        return find(_there(_parent(root)[0]), f"{_parent(root)[1]}/{last}")
    storage = _there(place)
    if any(VERSION_PATTERN.fullmatch(folder) for folder in storage.folders()):
        return find(_there(root), last)
    return find(storage, None)


def _parent(place: str) -> tuple[str, str]:
    """A place, and the last step that leads to what is named."""
    if "://" not in place:
        path = Path(place).expanduser().absolute() if place in {"", ".", ".."} or "/" not in place else Path(place)
        return str(path.parent), path.name
    root, _, last = place.rpartition("/")
    return root, last


def _there(place: str) -> Storage:
    if "://" not in place and not Path(place).expanduser().is_dir():
        raise UsageError(f"{place}: there is no such folder", remedy="name the folder that the recipe publishes to")
    return open_storage(place)
