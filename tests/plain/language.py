"""The signal `language` by the library: the sample cut in Python, then py3langid's own classification."""

from __future__ import annotations

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from classifiers.language import LEAST, WINDOW


@cache
def identifier():
    """The library's model, giving probabilities."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def sample(text, window=WINDOW):
    """The part of a text that is read, by its bytes."""
    raw = text.strip().encode()
    if len(raw) <= 3 * window:
        return raw.decode()
    middle = (len(raw) - window) // 2
    parts = (raw[:window], raw[middle : middle + window], raw[-window:])
    return "\n".join(part.decode(errors="ignore") for part in parts)


def identify(text, window=WINDOW):
    """The language of a text and its probability, rounded to 1e-4."""
    part = sample(text, window)
    if not any(character.isalpha() for character in part):
        return "und", 0.0
    found, probability = identifier().classify(part)
    score = round(float(probability), 4)
    return ("und", 0.0) if score < LEAST or found == "zxx" else (str(found), score)
