"""What a classifier sees of a document: its words, and nothing of its formatting.

`words` is the definition, and what training uses; scoring finds the same words in the bytes of a text
(curation/kernels/education.py). Classifiers of educational value are known to reward the looks of a textbook
(headings, bullets, numbered steps) whatever they say. Here layout, punctuation, letter case and numerals are gone
before the model looks, so that the same words score the same as prose, as a list or as Markdown.
"""

from __future__ import annotations

import re
import unicodedata

#: Raised when the same text gives other words: a model must be trained anew.
VERSION = 1

#: Characters in each of the three windows that are read of a longer text.
WINDOW = 2_000

_ADDRESS = re.compile(r"\w+://\S+|\bwww\.\S+|\S+@\S+")
_APOSTROPHE = re.compile(r"(?<=\w)['\N{RIGHT SINGLE QUOTATION MARK}](?=\w)")
_HAN_KANA = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN_KANA}]|[^\W\d_{_HAN_KANA}]+")


def excerpt(text: str) -> str:
    """The part of a text that is read: all of it up to three windows, else its start, middle and end.

    >>> len(excerpt("a" * 6_000)), len(excerpt("a" * 6_001))
    (6000, 6002)
    """
    text = text.strip()
    if len(text) <= 3 * WINDOW:
        return text
    middle = (len(text) - WINDOW) // 2
    return "\n".join((text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]))


def words(text: str) -> list[str]:
    r"""The words of a text's excerpt: runs of letters, folded; a Han or Kana character is a word of its own.

    Addresses (links, mail) go whole, since they name people and sites rather than say something.

    >>> words("## Photosynthesis\n\n* It's how *plants* eat (see https://example.org/2).")
    ['photosynthesis', 'its', 'how', 'plants', 'eat', 'see']
    >>> words("光合成 3.5")
    ['光', '合', '成']
    """
    text = folded(excerpt(text))
    return _WORD.findall(_APOSTROPHE.sub("", _ADDRESS.sub(" ", text)))


def folded(text: str) -> str:
    """A text in Unicode form NFKC, case-folded."""
    return unicodedata.normalize("NFKC", text).casefold()
