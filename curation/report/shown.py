"""What the templates of the report and the card share: how values are shown, and that nothing in them comes alive."""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from curation import rules as ruling
from curation.kernels.place import folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2.bccache import Bucket

#: What the reasons that are no rules look at.
BUILT_IN = {
    ruling.EMPTY: "no text",
    ruling.EMPTY_AFTER_EDIT: "the edits leave no text",
    ruling.FORGOTTEN: "it is forgotten",
}

#: What would change how other text is shown, or is no text: controls, orders of direction, tags, and what is no
#: character; tabs and line feeds stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)


def environment() -> Environment:
    """Templates of this package; all but Markdown is escaped, and that by the filters of `card`."""
    made = Environment(
        loader=PackageLoader("curation.report", ""),
        autoescape=select_autoescape(disabled_extensions=("md.j2",), default=True),
        undefined=StrictUndefined,
        bytecode_cache=_Kept(str(folder()), f"{_state()}-%s.template"),
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "share": share, "size": size, "clip": clip, "value": value, "change": change}
    made.filters |= {"score": score, "verdict": verdict}
    return made


class _Kept(FileSystemBytecodeCache):
    """Templates as Jinja compiled them, which takes some tenths of a second, beside the compiled kernels."""

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except Exception:  # noqa: BLE001  # a damaged file may raise anything: it is compiled anew
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):  # no room: then they are compiled each time
            super().dump_bytecode(bucket)


def _state() -> str:
    """What compiled templates depend on beside their text: Jinja, and what it may work out when it compiles them."""
    state = blake2b(version("jinja2").encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        state.update(source.read_bytes())
    return state.hexdigest()


def visible(shown: Any) -> Any:
    r"""A text in which nothing is hidden: controls and orders of direction are replaced by what names them.

    >>> visible("a\0b\u202ec\td")
    'a␀b[U+202E]c\td'
    """
    if not isinstance(shown, str) or isinstance(shown, Markup):
        return shown
    return _UNSEEN.sub(lambda found: _named(ord(found[0])), shown)


def _named(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else f"[U+{code:04X}]"


def clip(text: str, most: int) -> str:
    """The beginning of a text, with an ellipsis where more follows.

    >>> clip("abcdef", 3), clip("abc", 3)
    ('abc…', 'abc')
    """
    return text if len(text) <= most else f"{text[:most]}…"


def number(count: int) -> str:
    """A count, to read.

    >>> number(1234567)
    '1,234,567'
    """
    return f"{count:,}"


def change(count: int) -> str:
    """A difference, to read.

    >>> change(1200), change(0)
    ('+1,200', '±0')
    """
    return f"+{count:,}" if count > 0 else f"{count:,}".replace("-", "\u2212") if count else "±0"


def value(of: Any) -> str:
    """The value of a column, to read.

    >>> value(0.30000001192), value(1234), value(True), value(None), value("en")
    ('0.3', '1,234', 'true', 'null', 'en')
    """
    if of is None or isinstance(of, bool):
        return {None: "null", True: "true", False: "false"}[of]
    if isinstance(of, int):
        return number(of)
    return f"{of:.4g}" if isinstance(of, float) else clip(str(of), 100)


def score(row: Mapping[str, Any], body: str) -> str:
    """A measure of the scorecard, of one body of text.

    >>> score({"unit": "share", "raw": 0.25}, "raw"), score({"unit": "number", "raw": None}, "raw")
    ('25.0%', '-')
    >>> score({"unit": "spread", "raw": 3.1512, "raw_there": 1200}, "raw")
    '3.15 of 1,200'
    """
    found = row[body]
    if found is None:
        return "-"
    if row["unit"] == "share":
        return share(found)
    return f"{found:.3g} of {row[f'{body}_there']:,}" if row["unit"] == "spread" else f"{found:.3g}"


def verdict(row: Mapping[str, Any], body: str) -> str:
    """Whether a measure is better or worse than that of raw text; empty where it reads the same.

    >>> verdict({"unit": "share", "better": "less", "raw": 0.25, "kept": 0.1}, "kept")
    'better'
    """
    raw, found = row["raw"], row[body]
    if (
        raw is None
        or found is None
        or score({**row, "unit": "number"}, "raw") == score({**row, "unit": "number"}, body)
    ):
        return ""
    return "better" if (found > raw) == (row["better"] == "more") else "worse"


def share(part: float, whole: float = 1) -> str:
    """A part of a whole in percent; never 0 or 100 unless it is.

    >>> share(1, 3), share(1, 10_000), share(9_999, 10_000), share(2, 2), share(0, 0)
    ('33.3%', '< 0.1%', '> 99.9%', '100%', '0%')
    """
    if not part or not whole:
        return "0%"
    ratio = part / whole
    if ratio < 0.001:
        return "< 0.1%"
    if ratio == 1:
        return "100%"
    return "> 99.9%" if 0.999 < ratio < 1 else f"{ratio:.1%}"


def size(count: int) -> str:
    """Bytes, to read.

    >>> size(999), size(1_500), size(2_345_678_901)
    ('999 B', '1.5 kB', '2.3 GB')
    """
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.95:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"
