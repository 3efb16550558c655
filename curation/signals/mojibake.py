"""Text that was decoded with the wrong encoding, UTF-8 read as Latin-1 or Windows-1252, and characters that are lost.

The kernel looks for characters that are, as bytes, a character of UTF-8, and for control characters of Latin-1; ftfy
decides, and gives the repair. Only runs of such characters are looked at: what became a plain space is not noticed.
"""

# ruff: noqa: RUF002, RUF003 — quotation marks and dashes are meant where they stand

from __future__ import annotations

import re
from array import array
from functools import lru_cache
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from unicodedata import category

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.schema import SPANS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.signals.batch import Batch

VERSION = f"1+ftfy-{version('ftfy')}"
COLUMNS = {
    "mojibake_count": pa.int32(),  # runs that ftfy would repair
    "replacement_char_count": pa.int32(),  # U+FFFD: what could not be decoded, and is lost
    "mojibake": SPANS,  # those runs; an edit
}

#: What a run may be. Where only pieces of it could be repaired, and letters are left, it is right, or of an encoding
#: that ftfy does not know: Thai and Chinese read as Latin-1 hold many such pieces.
RIGHT, DECODED, CONTROLS, OTHER_CONTROLS = range(4)

_CONTROLS = re.compile("[\x80-\x9f]")
#: The control characters that are € … ‘ ’ “ ” • – — ™ in Windows-1252; its letters there are rare.
_MARKS = frozenset("\x80\x85\x91\x92\x93\x94\x95\x96\x97\x99")

#: As many candidates as are looked at in one go, whatever the batch.
_CANDIDATES = 1 << 14


def measure(batch: Batch) -> dict[str, Any]:
    """How many runs of each document ftfy would repair, where they stand, and how many characters are lost."""
    lost = np.zeros(len(batch), np.int32)
    found = array("q")
    for row, runs in groupby(_candidates(batch, lost), key=itemgetter(0)):
        found.extend(place for span in _verdicts(batch, list(runs)) for place in (row, *span))
    rows, starts, ends = np.frombuffer(found, np.int64).reshape(-1, 3).T
    counts = np.bincount(rows, minlength=len(batch)).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    first = batch.bounds[rows]
    spans = [pa.array((places - first).astype(np.int32)) for places in (starts, ends)]
    values = pa.StructArray.from_arrays(spans, fields=list(SPANS.value_type))
    return {
        "mojibake_count": counts,
        "replacement_char_count": lost,
        "mojibake": pa.ListArray.from_arrays(pa.array(offsets), values, type=SPANS),
    }


def _verdicts(batch: Batch, runs: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    r"""Start and end of those runs of one document that are to be repaired.

    Control characters are taken for Windows-1252 only where all of the document may be: in a text of another code page
    (br\x94der is "bröder" in that of MS-DOS) some are not.
    """
    controls = True
    verdicts = []
    for _, start, end in runs:
        verdict = _verdict(batch.data[start:end].tobytes())
        if verdict == CONTROLS and batch.data[start + 1] in (0x93, 0x94):  # quotation marks are not inside words
            low, high = batch.bounds[runs[0][0] : runs[0][0] + 2]
            sides = batch.data[max(low, start - 1) : start].tobytes() + batch.data[end : min(high, end + 1)].tobytes()
            verdict = OTHER_CONTROLS if len(sides) == 2 and sides.isalnum() else verdict
        controls &= verdict != OTHER_CONTROLS
        verdicts.append(verdict)
    for (_, start, end), verdict in zip(runs, verdicts, strict=True):
        if verdict == DECODED or (verdict == CONTROLS and controls):
            yield start, end


def stand_ins(spans: list[str], key: bytes) -> list[str]:  # noqa: ARG001  # a repair needs no key
    """What ftfy makes of each span: what publish puts in its place.

    >>> stand_ins(["Ã©", "â€™", "ÃƒÂ©"], b"")
    ['é', '’', 'é']
    """
    return [_repaired(span) for span in spans]


def _candidates(batch: Batch, lost: Any) -> Iterator[tuple[int, int, int]]:
    """Row, start and end, in all texts, of what the kernel saw; `lost` counts U+FFFD by row."""
    starts, ends, state = np.empty(_CANDIDATES, np.int64), np.empty(_CANDIDATES, np.int64), np.zeros(2, np.int64)
    while state[0] < len(batch):
        count = kernels.mojibake.candidates(batch.data, batch.bounds, state, starts, ends, lost)
        rows = np.searchsorted(batch.bounds, starts[:count], side="right") - 1
        yield from zip(rows.tolist(), starts[:count].tolist(), ends[:count].tolist(), strict=True)


@lru_cache(maxsize=1 << 14)
def _verdict(raw: bytes) -> int:
    """What a run is."""
    text = raw.decode()
    repaired = _repaired(text)
    if repaired not in (text, _as_windows(text)) and not any(_is_left(sign, text) for sign in repaired):
        return DECODED
    controls = _CONTROLS.findall(text)
    if not controls:
        return RIGHT
    return CONTROLS if _MARKS.issuperset(controls) else OTHER_CONTROLS


def _is_left(sign: str, text: str) -> bool:
    """Whether a character of a repaired text speaks against it: a letter as before, or none that Unicode knows."""
    return (sign.isalpha() and sign in text) or category(sign) == "Cn"


def _as_windows(text: str) -> str:
    from ftfy.fixes import fix_c1_controls  # noqa: PLC0415  # only where a text has a candidate

    return fix_c1_controls(text)


def _repaired(text: str) -> str:
    r"""A text as it was before it was decoded wrongly, or as it is.

    ftfy says whether something is wrong. Where the whole run decodes, that is the answer, as often as something still
    is wrong: ftfy would also try other encodings on what comes out, and take ”é for two bytes of Mac OS Roman.

    >>> _repaired("â€œ"), _repaired("\x93"), _repaired("É»"), _repaired("ÃO"), _repaired("â\x80\x9dÃ©")
    ('“', '“', 'É»', 'ÃO', '”é')
    """
    import ftfy  # noqa: PLC0415

    whole = text
    while ftfy.fix_encoding(whole) != whole:
        try:
            whole = b"".join(map(_byte, whole)).decode()
        except UnicodeError:
            break
    return _as_windows(ftfy.fix_encoding(text) if whole == text else whole)


def _byte(sign: str) -> bytes:
    """The byte of a character in Windows-1252, or where that has none in Latin-1; raises `UnicodeEncodeError`."""
    try:
        return sign.encode("windows-1252")
    except UnicodeEncodeError:
        return sign.encode("latin-1")
