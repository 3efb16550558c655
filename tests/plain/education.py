"""The signal `education` by the library: words prepared in Python, then fastText's own prediction."""

from __future__ import annotations

from functools import cache

import fasttext
import numpy as np

from classifiers.model import GRADES
from classifiers.text import words


@cache
def model(path):
    """The library's model."""
    return fasttext.load_model(str(path))


@cache
def vocabulary(path):
    """The words that it knows."""
    return frozenset(model(path).get_words()) - {"</s>"}


def prepared(path, text):
    """The words of a text that the model knows, as a line."""
    return " ".join(word for word in words(text) if word in vocabulary(path))


def predicted(path, lines):
    """The expected grade of each line, 0 for an empty one; neither clipped nor rounded."""
    asked = [index for index, line in enumerate(lines) if line]
    result = np.zeros(len(lines), dtype=np.float64)
    # A list, also for one text: with a single text some builds of fastText fail on NumPy 2.
    labels, probabilities = model(path).predict([lines[index] for index in asked], k=len(GRADES)) if asked else ([], [])
    for index, names, shares in zip(asked, labels, probabilities, strict=True):
        weights = [float(share) for share in shares]
        expected = sum(GRADES[name] * weight for name, weight in zip(names, weights, strict=True))
        result[index] = expected / sum(weights)
    return result


def scores(path, texts):
    """The score of each text: float32 from 0 to 5, rounded to 1e-4."""
    expected = predicted(path, [prepared(path, text) for text in texts])
    return np.round(np.clip(expected, 0, 5), 4).astype(np.float32)
