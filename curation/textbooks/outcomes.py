"""What came of code that was run, kept beside the ledger of its answers, so that none is run twice.

Whether code ends in time may differ from one run to the next, or from machine to machine. Its outcome is noted before
anything is made of it, as an answer is: so the same ledger gives the same documents, also where nothing can be run.

`LEDGER/outcomes/00001.jsonl`: a line for each piece of code, with the hash of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from curation.errors import StorageError
from curation.storage.journal import SUFFIX, Journal, lines
from curation.textbooks import sandbox
from curation.textbooks.sandbox import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from curation.textbooks.sandbox import Exercise


class Outcomes:
    """The outcomes beside a ledger, which this process holds.

    Raises `UsageError` where nothing was run yet and nothing can be; `StorageError` where they are damaged.
    """

    def __init__(self, ledger: Path) -> None:
        folder = ledger / "outcomes"
        self._known: dict[str, Outcome] = {}
        numbers = [0]
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            numbers.append(int(path.stem))
            for place, line in lines(path):
                try:
                    self._known[line["key"]] = Outcome(line["name"], line["detail"])
                except KeyError as error:
                    message = f"{path}: damaged at byte {place:,}: no {error}"
                    raise StorageError(message, remedy="remove the file: the code is run again") from error
        if not self._known:
            sandbox.refuse_none()
        self._journal = Journal.begin(folder / f"{max(numbers) + 1:05}{SUFFIX}")

    def of(self, exercises: Sequence[Exercise]) -> list[Outcome]:
        """The outcome of each; what is not known is run. Raises `UsageError` where it cannot be."""
        keys = [key_of(exercise) for exercise in exercises]
        new = {key: exercise for key, exercise in zip(keys, exercises, strict=True) if key not in self._known}
        if new:
            sandbox.refuse_none()
            for key, outcome in zip(new, sandbox.run_all(list(new.values())), strict=True):
                self._journal.write({"key": key, **asdict(outcome)})
                self._known[key] = outcome
            self._journal.sync()
        return [self._known[key] for key in keys]

    def close(self) -> None:
        """Close the file."""
        self._journal.close()


def key_of(exercise: Exercise) -> str:
    """What code is known by."""
    return hashlib.sha256(json.dumps([sandbox.VERSION, *asdict(exercise).values()]).encode()).hexdigest()
