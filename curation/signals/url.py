"""Where a document comes from: host, registered domain, and whether the lists of the recipe name them.

Nothing is fetched: the public suffix list comes with the package publicsuffixlist, the lists are files of the user's.
Of a URL's syntax this follows the WHATWG URL standard as far as the host goes; docs/blocklists.md has the differences.
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import unquote

import idna
import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from publicsuffixlist import PublicSuffixList

    from curation.signals.batch import Batch

Entry = TypeVar("Entry")

#: Raised when the same URL gives another answer.
VERSION = "1"
COLUMNS = {
    "host": pa.string(),
    "registered_domain": pa.string(),
    "is_blocked_domain": pa.bool_(),
    "blocked_word_count": pa.int32(),
}

#: Scheme, user and password, host, port; what follows is path, query and fragment.
_URL = re.compile(
    r"https?:[/\\]+(?:[^/\\?#]*@)?(\[[^/\\?#\]]*\]|[^/\\?#:@]*)(?::[0-9]*)?(?=[/\\?#]|$)", re.IGNORECASE | re.ASCII
)
_SPACES = "".join(map(chr, range(0x21)))
_BREAKS = str.maketrans("", "", "\t\n\r")
#: A host without the code points that the URL standard forbids in one, and without empty labels.
_LABEL = r"[^\x00-\x20#/:<>?@\[\\\]^|%\x7f.]+"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: No name in the DNS is longer. Making punycode of one takes time with the square of its length.
_LONGEST_HOST = 253

_WORD = re.compile(r"[^\W_]+")

#: What a list may name: letters, digits, hyphens and underscores in labels of at most 63.
_LISTED = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_PLAIN = rb"(?:[a-z0-9_-]{1,63}+\.)++[a-z][a-z0-9-]{0,62}+"
_BEFORE = rb"(?:(?:0\.0\.0\.0|127\.0\.0\.1)[ \t]+)?"
#: Nothing but domains as they are mostly written, a line each, alone or behind the address of a hosts file.
_PLAIN_LINES = re.compile(rb"(?:%b%b\r?+(?:\n|\Z))*+" % (_BEFORE, _PLAIN))
#: A line of any list: in the first group such a domain; in the second what must be looked at closely.
_LINE = re.compile(rb"^%b(?:\*?\.)?(%b)[ \t\r]*$|^(.*)$" % (_BEFORE, _PLAIN), re.MULTILINE)
#: Bytes of a list that are split into lines at a time.
_BLOCK = 1 << 20


class Settings(BaseModel):
    """The keys of `[signals.url]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blocked_domains: tuple[str, ...] = Field((), description="paths of lists of domains, plain or .gz")
    blocked_words: tuple[str, ...] = Field((), description="paths of lists of words, plain or .gz")

    @field_validator("blocked_domains", "blocked_words")
    @classmethod
    def _placed(cls, paths: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Relative paths are taken from the folder `base` of the validation's context, else from the current one."""
        base = Path((info.context or {}).get("base") or ".")
        return tuple(str((base / Path(path).expanduser()).absolute()) for path in paths)


@dataclass(frozen=True)
class Url:
    """The signal with its lists; small to send to another process, which reads the lists itself."""

    domains: tuple[tuple[str, str], ...]  # path and digest of each list
    words: tuple[tuple[str, str], ...]
    VERSION: str

    COLUMNS: ClassVar[Mapping[str, pa.DataType]] = COLUMNS
    #: So that a changed list costs no reading of text.
    READS_TEXT: ClassVar[bool] = False

    def measure(self, batch: Batch) -> dict[str, Any]:
        """The columns for each `uri`; what is no http(s) URL has "", "", false and 0."""
        parsed = [parse(uri) for uri in batch.uris]
        hosts = [host for host, _ in parsed]
        listed, longest = _listed_words(self.words)
        return {
            "host": hosts,
            "registered_domain": [registered_domain(host) for host in hosts],
            "is_blocked_domain": _blocked(hosts, _listed_domains(self.domains)),
            "blocked_word_count": [_found(host, rest, listed, longest) if listed else 0 for host, rest in parsed],
        }


def load(settings: Settings) -> Url:
    """The signal for these settings; `UsageError` if a list is not there, or holds what is no domain or no word.

    Its version holds the versions of the public suffix list and of IDNA's tables, and a digest of the lists: with other
    content it is another signal, with the same content under another name it is not.
    """
    domains = tuple((path, xxh3_128_hexdigest(_content(path))) for path in settings.blocked_domains)
    words = tuple((path, xxh3_128_hexdigest(_content(path))) for path in settings.blocked_words)
    _listed_domains(domains)  # read now, so that what is wrong in them is said before anything else is read
    _listed_words(words)
    parts = [VERSION, f"publicsuffixlist-{_version('publicsuffixlist')}", f"idna-{_version('idna')}"]
    if domains or words:
        digests = [*sorted({f"domains {digest}" for _, digest in domains}), *sorted({f"words {d}" for _, d in words})]
        parts.append(xxh3_128_hexdigest("\n".join(digests).encode())[:16])
    return Url(domains, words, "+".join(parts))


def parse(uri: str) -> tuple[str, str]:
    """The host of a URL as the column has it, and what follows it; two "" for what is no http(s) URL.

    >>> parse("HTTPS://user@Blog.Example.COM:8080/a?b#c")
    ('blog.example.com', '/a?b#c')
    >>> parse("http://bücher.example")
    ('xn--bcher-kva.example', '')
    >>> parse("docs/readme.md"), parse("http://not a host/")
    (('', ''), ('', ''))
    """
    uri = uri.strip(_SPACES).translate(_BREAKS)
    found = _URL.match(uri)
    host = normal_host(found[1]) if found else ""
    return (host, uri[found.end() :]) if found and host else ("", "")


def hosts_from() -> str:
    """What a URL's host depends on beside the URL; part of a fingerprint."""
    return f"{VERSION}+idna-{_version('idna')}"


def normal_host(text: str) -> str:
    """A host in lower case and punycode, without a dot at its end; "" for what can be none.

    >>> normal_host("WWW.Example.com."), normal_host("食狮。公司.cn"), normal_host("[2001:DB8:0::1]")
    ('www.example.com', 'xn--85x722f.xn--55qx5d.cn', '[2001:db8::1]')
    >>> normal_host("a..b"), normal_host("under_score.example"), normal_host("☃.example")
    ('', 'under_score.example', 'xn--n3h.example')
    """
    if text.startswith("["):
        return _ipv6(text[1:-1])
    host = unquote(text) if "%" in text else text
    if len(host) > _LONGEST_HOST:
        return ""
    if not host.isascii():
        host = _punycode(host)
    host = host.lower().removesuffix(".")
    return host if len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) else ""


def _ipv6(text: str) -> str:
    """An address in brackets in its shortest form, "" for what is none."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return ""
    mapped = address.ipv4_mapped  # which Python 3.13 writes in another way than those before it
    return f"[::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}]" if mapped else f"[{address}]"


def _punycode(host: str) -> str:
    """A host mapped as UTS 46 says (non-transitional, as browsers do), then label by label in punycode.

    Unlike `idna.encode` it refuses nothing: pages lie at hosts that the standard of 2008 forbids, such as ☃.net.
    """
    try:
        host = idna.uts46_remap(host, std3_rules=False)
    except idna.IDNAError:  # a code point that is not allowed
        host = host.lower()
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}" for label in host.split(".")
    )


@lru_cache(maxsize=1 << 16)
def registered_domain(host: str) -> str:
    """The part of a host that someone registered; "" for an address, a public suffix itself, or a single name.

    >>> registered_domain("news.bbc.co.uk"), registered_domain("someone.github.io")
    ('bbc.co.uk', 'github.io')
    >>> registered_domain("co.uk"), registered_domain("localhost"), registered_domain("127.0.0.1")
    ('', '', '')
    """
    return "" if _is_address(host) else _suffixes().privatesuffix(host) or ""


def _is_address(host: str) -> bool:
    return host.startswith("[") or host.rpartition(".")[2].isdecimal()


@cache
def _suffixes() -> PublicSuffixList:
    """The suffixes that registries delegate: `co.uk` is one, `github.io` (a private one) is not."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  # 0.1 s, only in a process that measures

    return PublicSuffixList(only_icann=True)


@cache
def _version(package: str) -> str:
    return version(package)


def _with_parents(host: str) -> Iterator[str]:
    """A host and every domain above it; an address has none above it.

    >>> list(_with_parents("a.b.example")), list(_with_parents("10.0.0.1"))
    (['a.b.example', 'b.example', 'example'], ['10.0.0.1'])
    """
    yield host
    if not _is_address(host):
        while dot := host.find(".") + 1:
            host = host[dot:]
            yield host


def _blocked(hosts: list[str], table: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each host whether it or a domain above it is in the table."""
    blocked = np.zeros(len(hosts), dtype=np.bool_)
    if not len(table):
        return blocked
    asked = [
        (row, xxh3_64_intdigest(name.encode()))
        for row, host in enumerate(hosts)
        if host
        for name in _with_parents(host)
    ]
    rows = np.fromiter((row for row, _ in asked), np.int64, len(asked))
    hashes = np.fromiter((digest for _, digest in asked), np.uint64, len(asked))
    places = np.minimum(np.searchsorted(table, hashes), len(table) - 1)
    blocked[rows[table[places] == hashes]] = True
    return blocked


def _found(host: str, rest: str, listed: frozenset[str], longest: int) -> int:
    """How many of the listed words and phrases stand in a URL, each counted once."""
    words = _words(f"{_shown(host)} {unquote(rest.partition('#')[0])}") if host else []
    return len(
        {" ".join(words[at : at + n]) for n in range(1, longest + 1) for at in range(len(words) - n + 1)} & listed
    )


def _words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case.

    >>> _words("www.best-casino.example /Free_Spins?q=10%")
    ['www', 'best', 'casino', 'example', 'free', 'spins', 'q', '10']
    """
    return _WORD.findall(text.casefold())


def _shown(host: str) -> str:
    """A host with its punycode read back."""
    if "xn--" not in host:
        return host
    return ".".join(_unpunycode(label) for label in host.split("."))


def _unpunycode(label: str) -> str:
    try:
        return label[4:].encode().decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


# The lists


def _content(path: str) -> bytes:
    """A list as it lies there, unpacked if it is gzip."""
    file = Path(path)
    try:
        raw = file.read_bytes()
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: there is no such list",
            remedy="correct the path in [signals.url]; a relative one starts at the recipe's folder",
        ) from error
    except IsADirectoryError as error:
        raise UsageError(
            f"{path} is a folder, not a list", remedy=f"name the file in it, such as {path}/domains"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}: damaged gzip: {error}", remedy="fetch it again") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", remedy="check its permissions") from error


@lru_cache(maxsize=2)
def _listed_domains(lists: tuple[tuple[str, str], ...]) -> NDArray[np.uint64]:
    """The sorted XXH3 hashes of all domains of the lists: 8 bytes for each.

    Two names of the same hash would be taken for one another. Among a million entries that happens to a name that is
    not listed with a chance of 10^6 / 2^64 = 5e-14.
    """
    hashes = [hash_domains(path, _content(path)) for path, _ in lists]
    return np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))  # np.unique takes seventy times as long


def hash_domains(path: str, content: bytes) -> NDArray[np.uint64]:
    """The hashes of the domains of a list, in the list's order; `UsageError` names the first line that is none."""
    hashes: list[NDArray[np.uint64]] = []
    faults = _Faults(path, "domain")
    for before, lines in _blocks(content.lower()):
        if _PLAIN_LINES.fullmatch(lines):
            names = [name for name in lines.split() if name not in (b"0.0.0.0", b"127.0.0.1")]
        else:
            found = _LINE.findall(lines)
            names = [plain for plain, _ in found if plain]
            for number, (plain, other) in enumerate(found, before + 1):
                if not plain:
                    names += faults.of(number, other, _domains_in)
        hashes.append(np.fromiter(map(xxh3_64_intdigest, names), np.uint64, len(names)))
    faults.said()
    return np.concatenate([np.empty(0, np.uint64), *hashes])


def _blocks(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole lines, some megabytes of them at a time, with how many lines came before."""
    start = before = 0
    while start < len(content):
        end = content.find(b"\n", start + _BLOCK)
        lines = content[start : len(content) if end < 0 else end]
        yield before, lines
        before += lines.count(b"\n") + 1
        start += len(lines) + 1


def _domains_in(line: str) -> list[bytes]:
    """The domains of a line without its comment; `ValueError` says what is wrong with it.

    >>> _domains_in("*.Example.com."), _domains_in(".zip"), _domains_in("10.0.0.1")
    ([b'example.com'], [b'zip'], [b'10.0.0.1'])
    >>> _domains_in("::1 localhost ip6-loopback"), _domains_in("0.0.0.0 a.example b.example")
    ([], [b'a.example', b'b.example'])
    """
    first, *more = line.split()
    if not more:
        return [_domain(first)]
    try:
        ip_address(first)
    except ValueError:
        raise ValueError("several words, and the first is no address as in a hosts file") from None
    return [_domain(name) for name in more if "." in name]  # the others are names of the machine itself


def _domain(text: str) -> bytes:
    if ":" in text:
        if address := _ipv6(text.strip("[]")):
            return address.encode()
        raise ValueError("a URL or a port; only the host belongs here")
    host = normal_host(text.removeprefix("*").removeprefix("."))
    if not _LISTED.fullmatch(host):
        raise ValueError("not a domain")
    if _is_address(host):
        try:
            IPv4Address(host)
        except AddressValueError:
            raise ValueError("neither a domain nor an address") from None
    elif "." not in host and not text.startswith(("*.", ".")):
        raise ValueError(f"a single label; to block all of a top-level domain write .{host}")
    return host.encode()


@lru_cache(maxsize=2)
def _listed_words(lists: tuple[tuple[str, str], ...]) -> tuple[frozenset[str], int]:
    """The words and phrases of the lists, and of how many words the longest consists."""
    listed: set[str] = set()
    for path, _ in lists:
        faults = _Faults(path, "word")
        for number, line in enumerate(_content(path).split(b"\n"), 1):
            listed.update(faults.of(number, line, _phrases_in))
        faults.said()
    return frozenset(listed), max((phrase.count(" ") + 1 for phrase in listed), default=0)


def _phrases_in(line: str) -> list[str]:
    words = _words(line)
    if not words:
        raise ValueError("no letter and no digit, so no URL has it as a word")
    return [" ".join(words)]


class _Faults:
    """The lines of a list that are wrong, for one message."""

    def __init__(self, path: str, unit: str) -> None:
        self.path = path
        self.unit = unit
        self.first = ""
        self.count = 0

    def of(self, number: int, raw: bytes, read: Callable[[str], Iterable[Entry]]) -> Iterable[Entry]:
        """What `read` makes of a line without its comment; nothing for a blank line or a wrong one."""
        try:
            line = raw.decode().partition("#")[0].strip("\ufeff" + _SPACES)
            return read(line) if line else ()
        except ValueError as error:
            why = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            self.first = self.first or f"{self.path}:{number}: {raw[:80].decode(errors='replace').strip()!r}: {why}"
            self.count += 1
            return ()

    def said(self) -> None:
        """Raise `UsageError` if a line was wrong."""
        if self.count:
            more = f" ({self.count:,} lines are wrong)" if self.count > 1 else ""
            raise UsageError(f"{self.first}{more}", remedy=f"write one {self.unit} a line, or # before the line")
