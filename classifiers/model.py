"""A fastText model of grades: loading it, and the score that it gives to a text.

Its labels are `__label__0` to `__label__5`, the grades. The score is their expectation, so a model that knows only good
(5) and bad (0) gives 5 times the probability of good.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from classifiers.modelfile import ModelFileError, parse
from classifiers.text import WINDOW, folded
from curation import kernels
from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Bytes: TypeAlias = NDArray[np.uint8]
    Bounds: TypeAlias = NDArray[np.int64]

#: The model that the project ships.
DEFAULT = Path(__file__).parent / "models" / "education.bin"

PREFIX = "__label__"
GRADES = {f"{PREFIX}{grade}": grade for grade in range(6)}

#: The word that stands for the end of a line; no text holds it.
_END = "</s>"

_TRAIN = "train one from labelled files: curate classifier train LABELS --out model.bin"


def digest(path: Path) -> str:
    """The SHA-256 of a model file, in hexadecimal; `UsageError` where there is none."""
    try:
        with path.open("rb") as file:
            hashed = sha256()
            while block := file.read(1 << 20):
                hashed.update(block)
            return hashed.hexdigest()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such model", remedy=_TRAIN) from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder, not a model file", remedy=_TRAIN) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", remedy="check its permissions") from error


@dataclass(frozen=True, eq=False)
class Model:
    """What scoring needs of a fastText model: its words, its matrices, and what its labels are worth.

    `words` holds the bytes of all words, those of word i from `bounds[i]` to `bounds[i + 1]`; `table` finds them.
    """

    words: Bytes
    bounds: Bounds
    table: NDArray[np.uint64]
    hashes: NDArray[np.int32]  #: fastText's, from which those of n-grams are made
    rows: NDArray[np.float32]  #: one for each word, then one for each bucket of n-grams
    output: NDArray[np.float32]  #: one row for each label
    worth: NDArray[np.float64]  #: the grade of each label
    last: int  #: the word that stands for the end of a line, or -1
    ngrams: int

    def known(self, data: Bytes, bounds: Bounds) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], Bounds]]:
        """The words of texts that the model knows, first of all texts, then of those that were passed over.

        Each time: which texts, the numbers of their words in `classifiers.text.words`, text after text, and where those
        of each text end. Passed over, and given again, are the texts that Python must normalise.
        """
        table, plain, expansions = kernels.normal.folded()
        read = np.empty((len(bounds) - 1, 6), np.int64)
        kernels.education.windows(data, bounds, table, WINDOW, read)
        numbers, ends, passed = self._known(data, read, table, expansions)
        yield np.arange(len(read)), numbers, ends
        if passed.any():
            windows = ([data[a:b].tobytes().decode() for a, b in row.reshape(3, 2)] for row in read[passed])
            data, bounds = joined(folded("\n".join(row)) for row in windows)
            whole = np.repeat(bounds[1:, None], 6, axis=1)
            whole[:, 0] = bounds[:-1]
            yield np.flatnonzero(passed), *self._known(data, whole, plain, expansions)[:2]

    def _known(
        self, data: Bytes, read: Bounds, table: NDArray[np.uint64], expansions: Bytes
    ) -> tuple[NDArray[np.int32], Bounds, NDArray[np.bool_]]:
        sizes = (read[:, 1::2] - read[:, ::2]).sum(axis=1)
        folded = np.empty(kernels.normal.MOST * int(sizes.max(initial=0)) + 16 + kernels.masks.SIZE, np.uint8)
        numbers = np.empty(2 * int(sizes.sum()), np.int32)
        ends, passed = np.empty(len(read), np.int64), np.zeros(len(read), np.bool_)
        kernels.education.known(
            data, read, table, expansions, kernels.normal.ascii_folded(), self.words, self.bounds, self.table,
            folded, numbers, ends, passed,
        )  # fmt: skip
        return numbers[: ends[-1] if len(ends) else 0], ends, passed

    def grades(self, numbers: NDArray[np.int32], ends: Bounds) -> NDArray[np.float64]:
        """The expected grade of each text from the numbers of its words; 0 for a text without one."""
        expected = np.empty(len(ends))
        kernels.education.grades(
            numbers, ends, self.rows, self.output, self.worth, self.hashes, self.last, self.ngrams,
            np.empty(self.rows.shape[1], np.float32), np.empty(len(self.worth)), expected,
        )  # fmt: skip
        return expected


def joined(texts: Iterable[str]) -> tuple[Bytes, Bounds]:
    """The bytes of texts one after another, and where each begins and ends.

    >>> joined(["a", "\u00e9"])
    (array([ 97, 195, 169], dtype=uint8), array([0, 1, 3]))
    """
    parts = [text.encode() for text in texts]
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


def score(path: Path, data: Bytes, bounds: Bounds) -> NDArray[np.float32]:
    """The score of each text by a model: float32 from 0 to 5, rounded to 1e-4.

    Text i is the UTF-8 in `data` from `bounds[i]` to `bounds[i + 1]`. One without a word that the model knows gets 0:
    about it the model can say nothing.
    """
    model = load(str(path))
    expected = np.zeros(len(bounds) - 1)
    for texts, numbers, ends in model.known(data, bounds):
        expected[texts] = model.grades(numbers, ends)
    return np.round(np.clip(expected, 0, 5), 4).astype(np.float32)


def scores(path: Path, texts: Iterable[str]) -> NDArray[np.float32]:
    """What `score` gives for Python strings."""
    return score(path, *joined(texts))


def vocabulary(
    words: Iterable[str],
) -> tuple[Bytes, Bounds, NDArray[np.uint64], NDArray[np.int32]]:
    """The first four fields of a `Model` that knows these words."""
    data, bounds = joined(words)
    slots = 1 << (2 * len(bounds)).bit_length()
    table = np.zeros((slots, 2), np.uint64)
    hashes = np.empty(len(bounds) - 1, np.int32)
    data = np.concatenate([data, np.zeros(8, np.uint8)])
    kernels.education.vocabulary(data, bounds, table, hashes)
    return data, bounds, table, hashes


@cache
def load(path: str) -> Model:
    """A model from its file, read at the first text of a process.

    The file is read by `classifiers.modelfile`, so the fastText library is not needed to score. Raises `UsageError` for
    a file that is no such model, or one that scoring would need more of: parts of words, another loss than softmax, or
    quantised matrices. `curate classifier train` makes none of those.
    """
    digest(Path(path))  # says what is wrong where there is no such file
    try:
        found = parse(np.memmap(path, np.uint8, mode="r").data if Path(path).stat().st_size else b"")
    except ModelFileError as error:
        raise UsageError(f"{path}: {error}", remedy=_TRAIN) from error
    if strange := sorted(set(found.labels) - set(GRADES)):
        raise UsageError(
            f"{path}: its labels are {', '.join(strange[:5])}; expected {PREFIX}0 to {PREFIX}5", remedy=_TRAIN
        )
    return Model(
        *vocabulary(found.words),
        rows=found.rows,
        output=found.output,
        worth=np.array([GRADES[label] for label in found.labels], np.float64),
        last=found.words.index(_END) if _END in found.words else -1,
        ngrams=found.ngrams,
    )
