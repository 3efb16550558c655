"""`Run`: what the stages of one run share, and `run.json`, its record."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curation.dataset import Workspace, fingerprint
from curation.errors import StorageError, UsageError
from curation.signals import load_signals
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.against import Outside
    from curation.dataset import Footer, Part
    from curation.engine import Engine
    from curation.progress import Progress
    from curation.recipe import Recipe
    from curation.signals import Signal
    from curation.stable import Basis
    from curation.storage import Storage

#: The format of manifest.json, and of the shards: raised when the same blend gives others.
FORMAT, SHARDS = 1, 1
#: Documents whose columns are worked through in about a second.
LITTLE = 50_000
#: The file that says that a folder is a workspace, and whose.
MARKER = "workspace.json"


@dataclass
class Run:
    """One walk over the stages.

    Stages read `recipe`, `work` and `parts` (which pull sets), map over parts with `engine`, and say what a person
    should know with `warn`.
    """

    recipe: Recipe
    work: Workspace
    signals: dict[str, Signal]
    engine: Engine
    progress: Progress
    #: Raises `StorageError` when this run holds its workspace no more; asked before what cannot be taken back.
    confirm: Callable[[], None]
    #: Every part of `documents`, in order, with its footer.
    parts: dict[Part, Footer] = field(default_factory=dict)
    #: Every part from outside that those are compared with, in the order of `dedup.against`, as measure sets it.
    against: dict[Part, Outside] = field(default_factory=dict)
    #: The fingerprints of each part's signals, of its verdicts and of its blend, as measure, judge and blend set them.
    signals_from: dict[Part, dict[str, str]] = field(default_factory=dict)
    verdicts_from: dict[Part, str] = field(default_factory=dict)
    blend_from: dict[Part, str] = field(default_factory=dict)
    #: A hash of the rows that the blend holds, whatever parts they lie in, as blend sets it.
    blended: str = ""
    #: What of earlier releases the verdicts are made from, None where `dedup.stable` is false; judge sets it.
    basis: Basis | None = None
    #: A hash of what is forgotten, as pull found it.
    forgotten: str = ""
    #: What was read: source, name, bytes and sha256 of each input.
    inputs: list[dict[str, Any]] = field(default_factory=list)
    #: Figures that later stages and the report need, by stage.
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        """Say something that a person should look at; it stands in the summary, run.json and the report."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.progress.line(f"  warning: {text}")

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return sum(footer.rows for footer in self.parts.values())

    @property
    def is_little(self) -> bool:
        """Whether work on the columns of all documents takes less than starting a worker process."""
        return self.documents < LITTLE

    def save(self, state: str) -> None:
        """Write run.json: what happened so far, with times."""
        before = last_run(self.work.storage) or {}  # of a stage that this run did not come to
        record = {
            "recipe": self.recipe.name,
            "state": state,
            "stages": self.stages,
            "inputs": self.inputs or before.get("inputs", []),
            "figures": {**before.get("figures", {}), **self.figures},
            "warnings": self.warnings,
        }
        self.work.storage.write("run.json", json.dumps(record, indent=1, default=str).encode())


def work_place(recipe: Recipe) -> Storage:
    """The recipe's WORK: its `work`, or `work/NAME` beside the recipe."""
    place = recipe.work or f"work/{recipe.name}"
    return open_storage(place, recipe.base, single_writer=recipe.single_writer, options=recipe.s3)


def release_place(recipe: Recipe) -> Storage:
    """Where the recipe's releases go; `RecipeError` for a kind of storage that there is not."""
    to, options = recipe.release.to, recipe.release.s3
    return open_storage(to, recipe.base, single_writer=recipe.single_writer, options=options)


def release_fingerprint(run: Run) -> str:
    """A hash of all that decides the bytes of a release's shards; there to be asked for once the blend is made.

    It is of rows, not of parts: how the inputs were cut decides nothing.
    """
    recipe = run.recipe
    settings = [recipe.name, recipe.seed, recipe.edit.model_dump(), recipe.release.shard_bytes, recipe.release.columns]
    if recipe.release.tokenised:
        settings += ["tokenised", recipe.release.end_of_document]
    editing = {
        name: str(one.VERSION) for name, one in run.signals.items() if set(recipe.edit.replace) & set(one.COLUMNS)
    }
    return fingerprint("release", FORMAT, SHARDS, settings, recipe.tokenizer_identity, editing, run.blended)


def refuse_overlap(recipe: Recipe) -> None:
    """Raise `UsageError` where WORK and the releases lie in each other: what one removes may be the other's."""
    work, to = work_place(recipe).identity, release_place(recipe).identity
    if f"{to}/".startswith(f"{work}/") or f"{work}/".startswith(f"{to}/{recipe.name}/"):
        raise UsageError(
            f"the workspace {work} and the releases in {to} lie in each other",
            remedy="give them folders of their own: `work` and `release.to` in the recipe",
        )


def claim_workspace(recipe: Recipe) -> None:
    """Make WORK this recipe's, by a file `workspace.json` with the recipe's name and an id of its own.

    Raises `StorageError` where it is another recipe's, whose parts would be removed, or holds other files.
    """
    storage = work_place(recipe)
    if storage.read(MARKER) is None:
        if storage.is_used():
            raise StorageError(
                f"{storage}: holds files and is no workspace of curate's; what is not its own it would remove",
                remedy="name a new or empty folder: `work` in the recipe, or --work",
            )
        storage.create(MARKER, json.dumps({"recipe": recipe.name, "id": uuid.uuid4().hex}).encode())
    owner = _marker(storage).get("recipe")
    if owner != recipe.name:
        raise StorageError(
            f"{storage}: this workspace belongs to the recipe {owner}",
            remedy="give this recipe a folder of its own: `work` in the recipe, or --work",
        )


def workspace_id(storage: Storage) -> str:
    """What tells this workspace from others in the claims of releases."""
    place = hashlib.sha256(storage.identity.encode()).hexdigest()[:8]  # a copied folder is another
    return f"{_marker(storage).get('id', '')}-{place}"


def _marker(storage: Storage) -> dict[str, Any]:
    try:
        marker = json.loads(storage.read(MARKER) or b"{}")
    except ValueError:
        marker = {}
    return marker if isinstance(marker, dict) else {}


def workspace(recipe: Recipe) -> tuple[Workspace, dict[str, Signal]]:
    """The recipe's datasets and signals; nothing is read or written yet.

    Raises `RecipeError` when a signal is unknown or its settings are wrong.
    """
    signals = load_signals(recipe)
    columns = {name: signal.COLUMNS for name, signal in signals.items()}
    return Workspace(work_place(recipe), columns), signals


def last_run(storage: Storage) -> dict[str, Any] | None:
    """What run.json says, None where there is none."""
    try:
        record = json.loads(storage.read("run.json") or b"null")
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
