"""Where the signal `mojibake` looks, character by character: runs that may have been decoded wrongly."""

from __future__ import annotations


def runs(text: str) -> list[tuple[int, int]]:
    """Start and end, in bytes of UTF-8, of the runs that ftfy is asked about; they may be of any length here."""
    found = []
    start, run = 0, b""
    for place in range(len(text) + 1):
        byte = _byte(text[place]) if place < len(text) else b""
        if byte and not run:
            start = place
        if byte:
            run += byte
        elif run:
            if _is_candidate(run, text[start:place]):
                found.append((len(text[:start].encode()), len(text[:place].encode())))
            run = b""
    return found


def _byte(sign: str) -> bytes:
    """The byte from 0x80 that a character is in Windows-1252, or where that has none in Latin-1."""
    for encoding in ("windows-1252", "latin-1"):
        try:
            byte = sign.encode(encoding)
        except UnicodeEncodeError:
            continue
        return byte if byte >= b"\x80" else b""
    return b""


def _is_candidate(run: bytes, text: str) -> bool:
    if any("\x80" <= sign <= "\x9f" for sign in text):
        return True
    for place in range(len(run)):
        size = next((size for first, last, size in _LEADS if first <= run[place] <= last), 0)
        rest = run[place + 1 : place + size]
        if size and len(rest) == size - 1 and all(0x80 <= byte < 0xC0 for byte in rest):
            return True
    return False


_LEADS = ((0xC2, 0xDF, 2), (0xE0, 0xEF, 3), (0xF0, 0xF4, 4))
