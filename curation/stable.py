"""stable: which release's documents stay when a better copy comes.

That is the latest release. But when the latest was itself decided from what a run is deciding from now, it is the one
which that was decided from: else a release would be an input of itself, and running again could publish another one
with nothing changed. A release's manifest tells both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.errors import ReleaseError
from curation.releases import Release, latest
from curation.run import release_place

if TYPE_CHECKING:
    from curation.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Basis:
    """What the documents of a run are decided from, in the release that comes of it.

    `decided` is the fingerprint of all but the release whose documents stay; this is `release` with the SHA-256 of its
    manifest, None where there is none.
    """

    decided: str
    release: Release | None = None
    manifest_sha256: str | None = None

    def record(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        version = self.release.version if self.release else None
        return {"decided": self.decided, "version": version, "manifest_sha256": self.manifest_sha256}


def basis(recipe: Recipe, decided: str) -> Basis:
    """The release whose documents stay, for a run that decides from this besides.

    Raises `ReleaseError` where `latest.json` points to a release that is not there.
    """
    storage = release_place(recipe)
    newest = latest(storage, recipe.name)
    if newest is None:
        return Basis(decided)
    manifest = newest.manifest()
    if manifest is None:
        raise ReleaseError(
            f"{newest.path}: latest.json points to it, and it has no manifest.json",
            remedy="restore that release, or decide without it: stable = false in [dedup]",
        )
    record = manifest.get("stable") or {}
    if record.get("decided") == decided:
        if record["version"] is None:
            return Basis(decided)
        before = Release(storage, recipe.name, record["version"])
        if _sha256(before) == record["manifest_sha256"]:
            return Basis(decided, before, record["manifest_sha256"])
    return Basis(decided, newest, _sha256(newest))


def _sha256(release: Release) -> str | None:
    data = release.storage.read(f"{release.folder}/manifest.json")
    return None if data is None else hashlib.sha256(data).hexdigest()
