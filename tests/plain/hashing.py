"""The hash of a folded word, in Python's own integers."""

from __future__ import annotations

import unicodedata

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def mixed(value: int) -> int:
    """The finaliser of MurmurHash3."""
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33


def hashed(raw: bytes) -> int:
    """Eight bytes at a time, each mixed into what came before; never 0."""
    value = len(raw) * _GOLDEN & _MASK
    for start in range(0, len(raw), 8):
        value = mixed(value ^ int.from_bytes(raw[start : start + 8], "little")) + _GOLDEN & _MASK
    return value or 1


def folded(text: str) -> str:
    """NFC and case-folded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
