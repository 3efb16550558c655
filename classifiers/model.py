"""A fastText model of grades: loading it, and the score that it gives to a text.

Its labels are `__label__0` to `__label__5`, the grades. The score is their expectation, so a model that knows only good
(5) and bad (0) gives 5 times the probability of good.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.text import words
from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The model that the project ships.
DEFAULT = Path(__file__).parent / "models" / "education.bin"

PREFIX = "__label__"
GRADES = {f"{PREFIX}{grade}": grade for grade in range(6)}

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


def scores(path: Path, texts: Iterable[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The score of each text by a model: float32 from 0 to 5, rounded to 1e-4.

    A text without a word that the model knows gets 0: about it the model can say nothing.
    """
    model, vocabulary = _load(str(path))
    known = [" ".join(word for word in words(text) if word in vocabulary) for text in texts]
    asked = [index for index, line in enumerate(known) if line]
    result = np.zeros(len(known), dtype=np.float64)
    # A list, also for one text: with a single text some builds of fastText fail on NumPy 2.
    labels, probabilities = model.predict([known[index] for index in asked], k=len(GRADES)) if asked else ([], [])
    for index, names, shares in zip(asked, labels, probabilities, strict=True):
        weights = [float(share) for share in shares]
        expected = sum(GRADES[name] * weight for name, weight in zip(names, weights, strict=True))
        result[index] = expected / sum(weights)
    return np.round(np.clip(result, 0, 5), 4).astype(np.float32)


@cache
def _load(path: str) -> tuple[Any, frozenset[str]]:
    """The model and its words, loaded at the first text of a process."""
    import fasttext  # noqa: PLC0415  # see above

    digest(Path(path))  # fastText itself cannot say what is wrong with a file
    try:
        model = fasttext.load_model(path)
        labels = model.get_labels()
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UsageError(f"{path}: not a fastText model for labels: {error}", remedy=_TRAIN) from error
    if strange := sorted(set(labels) - set(GRADES)):
        raise UsageError(
            f"{path}: its labels are {', '.join(strange[:5])}; expected {PREFIX}0 to {PREFIX}5", remedy=_TRAIN
        )
    return model, frozenset(model.get_words()) - {"</s>"}
