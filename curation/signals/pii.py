"""Personal data and secrets that have a form of their own: addresses, numbers and keys; where they stand, how many.

What can be checked is checked: domains end in a suffix that registries delegate, IBANs and cards have their check
digits, numbers of telephones the lengths of their countries. Domains and addresses that are kept for documentation are
nobody's and do not count. Names, postal addresses and dates of birth have no form, and are not found.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from functools import cache, lru_cache
from hashlib import blake2b
from importlib.metadata import version
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.schema import SPANS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from publicsuffixlist import PublicSuffixList

    from curation.signals.batch import Batch

VERSION = f"2+publicsuffixlist-{version('publicsuffixlist')}"
COLUMNS = {
    "email_count": pa.int32(),
    "phone_count": pa.int32(),  # international form, beginning with "+"
    "ip_count": pa.int32(),  # IPv4 and IPv6 that are routed on the internet
    "iban_count": pa.int32(),
    "card_count": pa.int32(),
    "key_count": pa.int32(),  # private keys, and tokens that services issue
    "pii": SPANS,  # all of these; an edit
}

# All patterns read bytes of UTF-8, so that their places are the spans, and each is asked only where the kernel saw the
# outward form. None takes more than linear time: each repeats without ambiguity or within bounds, and what stands
# around a match is looked at afterwards.

_EMAIL = re.compile(rb"[A-Za-z0-9._%+'-]{0,64}@([A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}+)")
#: Letters of Latin script beyond ASCII (U+00C0 to U+017F) may be in a local part (RFC 6531); others stand before it
#: without a space, as in Chinese.
_LATIN = re.compile(rb"(?:[\xc3-\xc5][\x80-\xbf]|[A-Za-z0-9._%+'-])+\Z")
#: What comes before the name of a message.
_MESSAGE = (b"message-id", b"in-reply-to", b"references", b"article", b"articles", b"message")
#: What comes before the user of a URL, with a password or none.
_IN_URL = re.compile(rb"://[^\s/@<>\"']{0,64}\Z")
#: RFC 2606 and 6761: nobody has these.
_RESERVED = ("example", "example.com", "example.net", "example.org", "test", "invalid", "localhost")

_IPV4 = re.compile(rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
_MORE = re.compile(rb"\.[0-9]|-[A-Za-z]")
#: What comes before a number that is a version, or a place in a book.
_NO_ADDRESS = re.compile(
    rb"(?:(?:\b(?:v|ver|releases?|build|rev|revision|firmware|fw|fassung|driver|kernel|section|sect?|chapter|clause|"
    rb"figure|fig|table|appendix|equation|eq|oid)|versions?)|\xc2\xa7)(?: is)?[ .:=#\"'(>]{0,3}\Z",
    re.IGNORECASE,
)
_IPV6 = re.compile(rb"[0-9A-Fa-f:]{2,48}")
#: Not routed on the internet, or kept for documentation: from IANA's registries of special-purpose addresses, which
#: `ipaddress.is_global` follows too, but in each version of Python another state of them.
_NOBODYS_NETWORKS = {
    IPv4Address: tuple(
        (int(network[0]), int(network[-1]))
        for network in map(
            IPv4Network,
            (
                "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
                "224.0.0.0/3",
            ),
        )
    ),
    IPv6Address: tuple(
        (int(network[0]), int(network[-1]))
        for network in map(IPv6Network, ("::/3", "2001::/23", "2001:db8::/32", "3fff::/20", "4000::/2", "8000::/1"))
    ),
}  # fmt: skip

_SEPARATOR = rb"(?:[ ./-]|\xc2\xa0|\xe2\x80[\x90-\x93])"
_PHONE = re.compile(
    rb"\+[1-9][0-9]{0,14}+(?:(?:%b{1,2}+(?:\([0-9]{1,5}\)%b?)?+|\([0-9]{1,5}\)%b?+)[0-9]{1,12}+(?![0-9A-Za-z_])){0,7}+"
    % (_SEPARATOR, _SEPARATOR, _SEPARATOR)
)
_DIGITS = re.compile(rb"[0-9]+")
#: ITU-T E.164: the codes of countries and services.
_COUNTRY_CODE = re.compile(
    r"1|7|2(?:[07]|1[12368]|[2-6]\d|9[01789])|3(?:[0-469]|[57]\d|8[0-35-79])|4(?:[013-9]|2[013])|5(?:[1-8]|[09]\d)"
    r"|6(?:[0-6]|7[02-9]|8[0-35-9]|9[0-2])|8(?:[1246]|5[02356]|80|86)|9(?:[0-58]|6[0-8]|7[0-79]|9[2-68])"
)
#: How many digits follow the country code, from and to, where that is narrower than 6 to 12.
_NATIONAL = {
    "1": (10, 10), "7": (10, 10), "20": (8, 10), "27": (9, 9), "30": (10, 10), "31": (9, 9), "32": (8, 9), "33": (9, 9),
    "34": (9, 9), "36": (8, 9), "39": (6, 11), "41": (9, 9), "44": (9, 10), "45": (8, 8), "46": (7, 10), "47": (8, 8),
    "48": (9, 9), "51": (8, 9), "52": (10, 11), "54": (10, 11), "55": (10, 11), "56": (9, 9), "57": (8, 10),
    "60": (8, 10), "61": (9, 9), "62": (7, 12), "63": (8, 10), "64": (8, 10), "65": (8, 8), "66": (8, 9), "81": (9, 10),
    "82": (8, 10), "84": (9, 10), "86": (9, 11), "90": (10, 10), "91": (10, 10), "92": (8, 10), "351": (9, 9),
    "353": (7, 9), "358": (6, 11), "380": (9, 9), "420": (9, 9), "421": (9, 9), "852": (8, 8), "971": (8, 9),
    "972": (8, 9),
}  # fmt: skip
#: North America: neither area nor exchange begins with 0 or 1, and 555-0100 to 555-0199 are kept for fiction.
_NORTH_AMERICAN = re.compile(r"[2-9]\d\d(?!55501)[2-9]\d{6}")
_FICTION = re.compile(r"[2-9]\d\d55501\d\d\Z")
#: A number behind one of these is a piece of something longer.
_GOES_ON = (b".", b"/", b"+", b"-", b"\\", b"=", b"#", b"&", b"%")
#: As it is written there.
_AMERICAN_FORM = re.compile(
    rb"(?:\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .-]|[2-9][0-9]{2}([.-])[2-9][0-9]{2}\1)[0-9]{4}(?![0-9A-Za-z_]|[.-][0-9])"
)
#: What says that a telephone number follows.
_CALLED = re.compile(
    r"(?:\b(?:(?:tele)?(?:phone|fax)(?: at)?|cell|cellular|mobile|mob|voice|voice ?mail|call|ph|fon|handy|mobil|gsm|"
    r"tel|telefono?|telefoon|telefone|tel[eé]fono|t[eé]l[eé]phone|t[eé]l|celular|m[oó]vil|portable|cellulare)|"
    r"тел|телефон|факс|звоните|電話|电话|電話番号|传真|전화)(?: ?(?:no|nr|n°|number|#))?[\s.:#\uff1a]{0,5}\Z",
    re.IGNORECASE,
)
_CALLED_NUMBER = re.compile(
    rb"(?:\([0-9]{2,5}\)|[0-9]{2,5})(?:(?: ?- ?|[ ./]| / )[0-9]{2,8}){1,4}(?![0-9A-Za-z_])|[0-9]{7,14}"
)
_DATE = re.compile(
    rb"(?:19|20)[0-9]{2}-(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}([./-])[0-9]{2}\1[0-9]{2}"
    rb"|[0-9]{2}([./-])[0-9]{2}\2(?:19|20)?[0-9]{2}"
)

_IBAN = re.compile(rb"[A-Z][A-Z][0-9][0-9](?: ?[0-9A-Z]{1,4}+){3,30}")
#: The SWIFT registry: how long an IBAN is in each country.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
#: The same for the kernel, by the country's two letters.
_LENGTHS = np.zeros(26 * 26, np.uint8)
for _country, _length in _IBAN_LENGTHS.items():
    _LENGTHS[(ord(_country[0]) - 65) * 26 + ord(_country[1]) - 65] = _length

#: All digits together, or in the groups that are embossed.
_CARD = re.compile(rb"[2-6][0-9]{3}(?:([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}|([ -]?)[0-9]{6}\2[0-9]{4,5})")
_IN_A_LONGER_NUMBER = re.compile(rb"[./+-]\Z|(?<![0-9])[0-9]{4} \Z")
_AND_LONGER = re.compile(rb"[.-][0-9]| [0-9]{4}(?![0-9])")
#: American Express, Diners Club, Visa, Mastercard, Discover, UnionPay, JCB, each with its length.
_ISSUER = re.compile(
    r"3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|4\d{15}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|352[89]|35[3-8]\d)\d{12}"
)

_KEY = re.compile(
    # PEM, as a file has it or a string in code; a first line alone is only talked about
    rb"-----BEGIN (?:[A-Z]{2,9} )?PRIVATE KEY(?: BLOCK)?-----(?:(?:[A-Za-z0-9+/=:,. \r\n\\]|-(?!----)){64,}+"
    rb"-----END (?:[A-Z]{2,9} )?PRIVATE KEY(?: BLOCK)?-----|(?:[\r\n]|\\[nr]){1,4}[A-Za-z0-9+/=]{40,}+)"
    rb"|A[KS]IA[0-9A-Z]{16}"  # Amazon
    rb"|gh[oprsu]_[A-Za-z0-9]{36,255}"  # GitHub
    rb"|github_pat_[A-Za-z0-9_]{60,255}"
    rb"|glpat-[A-Za-z0-9_-]{20,255}"  # GitLab
    rb"|xox[abeoprs]-[0-9A-Za-z-]{10,255}"  # Slack
    rb"|AIza[0-9A-Za-z_-]{35}"  # Google
    rb"|[rs]k_live_[0-9A-Za-z]{24,255}"  # Stripe
    rb"|sk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{32,255}|sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"  # Anthropic, OpenAI
    rb"|hf_[A-Za-z]{34}"  # Hugging Face
    rb"|npm_[A-Za-z0-9]{36}"
    rb"|pypi-AgE[A-Za-z0-9_-]{50,255}"
    rb"|eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{10,}+\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}+"  # JSON Web Token
)

Span: TypeAlias = tuple[int, int]

#: As many candidates as are looked at in one go, whatever the batch.
_CANDIDATES = 1 << 16


def measure(batch: Batch) -> dict[str, Any]:
    """How much of each kind a document holds, and where; of two that overlap the one that begins first counts."""
    rows, starts, ends, kinds = _found(batch).T
    order = np.lexsort((kinds, ends, starts, rows))
    if len(order):
        order = order[_apart(rows[order], starts[order], ends[order])]
    rows, kinds = rows[order], kinds[order]
    counts = {name: np.bincount(rows[kinds == kind], minlength=len(batch)) for kind, name in enumerate(_KINDS)}
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(batch)))]).astype(np.int32)
    bounds = [pa.array(values[order].astype(np.int32)) for values in (starts, ends)]
    spans = pa.StructArray.from_arrays(bounds, fields=list(SPANS.value_type))
    columns = {name: count.astype(np.int32) for name, count in counts.items()}
    return columns | {"pii": pa.ListArray.from_arrays(pa.array(offsets), spans, type=SPANS)}


def _found(batch: Batch) -> NDArray[np.int64]:
    """Row, start, end and kind of everything; two may overlap. One array, since a text may be all addresses."""
    found = array("q")
    last, raw, message = -1, b"", -1
    for row, at, form in _candidates(batch):
        if row != last:
            low, high = batch.bounds[row : row + 2].tolist()
            last, raw, message = row, batch.data[low:high].tobytes(), -1
        kind, verdict = _VERDICTS[form]
        span = verdict(raw, at - low)
        if span is None:
            continue
        start, end = span
        if kind == 0 and raw[start - 1 : start] == b"<" and _is_message(raw, start - 1, message):
            message = end
        else:
            found.extend((row, start, end, kind))
    return np.frombuffer(found, np.int64).reshape(-1, 4)


def _candidates(batch: Batch) -> Iterator[tuple[int, int, int]]:
    """Row, place in all texts and form of what the kernel saw, in the order of the texts."""
    places, forms, state = np.empty(_CANDIDATES, np.int64), np.empty(_CANDIDATES, np.uint8), np.zeros(3, np.int64)
    while state[0] < len(batch):
        count = kernels.pii.candidates(batch.data, batch.bounds, _LENGTHS, state, places, forms)
        rows = np.searchsorted(batch.bounds, places[:count], side="right") - 1
        yield from zip(rows.tolist(), places[:count].tolist(), forms[:count].tolist(), strict=True)


def _apart(rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which spans begin behind the end of all that are taken before them in their row; they come sorted."""
    taken = np.ones(len(rows), np.bool_)
    if ((rows[1:] == rows[:-1]) & (starts[1:] < ends[:-1])).any():
        row, free = -1, 0
        for place, (mine, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
            taken[place] = mine != row or start >= free
            if taken[place]:
                row, free = mine, end
    return taken


def _email(raw: bytes, at: int) -> Span | None:
    r"""The address of e-mail that begins here, at a domain that someone can have.

    >>> text = b"Jo <jo.doe@mail.no-such-company.co.uk>, docs@example.com, icon@2x.png, react@18.2.0, git@host.com:a/b"
    >>> [text[slice(*_email(text, found.start()) or (0, 0))] for found in re.finditer(rb"[\w.]+@", text)]
    [b'jo.doe@mail.no-such-company.co.uk', b'', b'', b'', b'']
    """
    found = _EMAIL.match(raw, at)
    if not found or not _can_be_had(found[1]):
        return None
    if at and raw[at - 1] >= 0x80 and (more := _LATIN.search(raw, max(0, at - 64), at)):
        at = more.start()
    if raw[at] == 64:  # "@"
        return None
    end = found.end()
    if raw[end - 1] == 45:  # "-"
        end -= len(found[1]) - len(found[1].rstrip(b"-"))
    if raw.startswith(b"git@", at) and raw[found.end() : found.end() + 1] in b":/":
        return None
    if raw.find(b"://", max(0, at - 80), at) >= 0 and _IN_URL.search(raw[max(0, at - 80) : at]):
        return None
    return at, end


def _is_message(raw: bytes, at: int, message: int) -> bool:
    """Whether what stands in the angle bracket at `at` is the name of a message, in a header or in what is said of it.

    Names follow each other in `References`: `message` is where the last one ended, or -1.
    """
    if 0 <= message < at <= message + 16 and not raw[message + 1 : at].strip():
        return True
    return raw[max(0, at - 24) : at].rstrip().removesuffix(b":").lower().endswith(_MESSAGE)


@lru_cache(maxsize=1 << 16)
def _can_be_had(domain: bytes) -> bool:
    """Whether someone can have registered a domain: its suffix exists, and it is not kept for documentation.

    >>> [_can_be_had(domain) for domain in (b"mail.bbc.co.uk", b"co.uk", b"2x.png", b"Docs.Example.com")]
    [True, False, False, False]
    """
    registered = _suffixes().privatesuffix(domain.rstrip(b"-").decode("ascii").lower())
    return registered is not None and registered not in _RESERVED


@cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  # 0.1 s, only where a text has an "@"

    return PublicSuffixList(accept_unknown=False, only_icann=True)


def _phone(raw: bytes, at: int) -> Span | None:
    """The telephone number in international form at a plus: a country's code, as many digits as numbers have there.

    >>> text = b"+44 (0)20 7946 0958, tel:+12024567041, GMT+1000 2002, C++11, +0200, +1234567890"
    >>> [text[slice(*_phone(text, plus.start()) or (0, 0))] for plus in re.finditer(rb"[+]", text)]
    [b'+44 (0)20 7946 0958', b'+12024567041', b'', b'', b'', b'', b'']
    """
    found = _PHONE.match(raw, at)
    if not found or not _stands_alone(raw, at, found.end()) or raw[at - 1 : at] == b"+":
        return None
    groups = [(at + group.start(), at + group.end()) for group in _DIGITS.finditer(found[0])]
    for last in range(len(groups), 0, -1):  # another number may follow
        begins, ends = groups[last - 1]
        if ends - begins == 1 and raw[begins - 1 : begins] != b"-":  # "-0" is a German switchboard
            continue
        if raw[ends : ends + 1] == b"." and raw[ends + 1 : ends + 2].isdigit():  # a fraction: coordinates
            continue
        if _is_phone([raw[slice(*group)].decode("ascii") for group in groups[:last]]):
            return at, ends
    return None


def _national(raw: bytes, at: int) -> Span | None:
    """The telephone number without a plus that begins here: as North America writes it, or behind a word that says so.

    >>> text = b"(713) 853-6388 or 1-281-444-5140, fax 030 23125000, 1990-1993 2000, tel. 0044 20 7946 0958"
    >>> places = map(text.index, (b"713", b"281", b"030", b"1990", b"0044"))
    >>> [text[slice(*_national(text, place) or (0, 0))] for place in places]
    [b'(713) 853-6388', b'1-281-444-5140', b'030 23125000', b'', b'0044 20 7946 0958']
    """
    opened = at - (raw[at - 1 : at] == b"(")
    found = _AMERICAN_FORM.match(raw, opened) or _AMERICAN_FORM.match(raw, at)
    if found:
        start = found.start()
        if re.search(rb"(?<![0-9A-Za-z_./+-])1[ .-]\Z", raw[max(0, start - 3) : start]):  # dialled before it
            start -= 2
        number = b"".join(_DIGITS.findall(found[0])).decode("ascii")
        in_more = raw[start] != 40 and raw[max(0, start - 1) : start] in _GOES_ON  # "("
        if in_more or not _NORTH_AMERICAN.fullmatch(number) or not _stands_alone(raw, start, found.end()):
            return None
        return start, found.end()
    start = opened
    found = _CALLED_NUMBER.match(raw, start)
    if not found or not _stands_alone(raw, *found.span()) or _DATE.match(found[0]):
        return None
    groups = [group.decode("ascii") for group in _DIGITS.findall(found[0])]
    size = sum(map(len, groups))
    if groups[0].startswith("00"):
        if not _is_phone([groups[0][2:], *groups[1:]] if len(groups[0]) > 2 else groups[1:]):
            return None
    elif not 7 <= size <= 12 or (groups[0][0] != "0" and len(groups) == 1 and size > 10):
        return None
    if _FICTION.search("".join(groups)):
        return None
    return found.span() if _CALLED.search(raw[max(0, start - 32) : start].decode("utf-8", "ignore")) else None


def _is_phone(groups: list[str]) -> bool:
    """Whether groups of digits are a country's code and a number of there.

    >>> _is_phone(["44", "0", "20", "7946", "0958"]), _is_phone(["49", "30", "1"]), _is_phone(["20261123"])
    (True, False, False)
    """
    if (len(groups) == 1 and len(groups[0]) < 10) or any(len(group) == 1 for group in groups[3:-1]):
        return False
    if groups[1:2] == ["0"]:  # written "(0)": dialled only within the country
        groups = [groups[0], *groups[2:]]
    digits = "".join(groups)
    country = _COUNTRY_CODE.match(digits)
    if country is None:
        return False
    national = digits[country.end() :]
    least, most = _NATIONAL.get(country[0], (6, 12))
    return least <= len(national) <= most and (country[0] != "1" or _NORTH_AMERICAN.fullmatch(national) is not None)


def _ipv4(raw: bytes, at: int) -> Span | None:
    """The address on the internet that four numbers between dots are, unless they are a version or a place in a book.

    They are if the first two have a single digit: those are versions and places in books, and one address in a
    thousand. So is what ends in 0: a version, a network, or an address that was made anonymous.

    >>> text = b"81.2.69.142, 192.168.0.1, 192.0.2.7, version 1.23.45.67, 1.2.3.4, 81.2.69.0"
    >>> [text[slice(*_ipv4(text, found.start()) or (0, 0))] for found in _IPV4.finditer(text)]
    [b'81.2.69.142', b'', b'', b'', b'', b'']
    """
    found = _IPV4.match(raw, at)
    if (
        not found
        or raw[at + 1 : at + 4 : 2] == b".."
        or found[0].endswith(b".0")
        or not _stands_alone(raw, *found.span())
    ):
        return None
    before = raw[max(0, at - 24) : at]
    if before.endswith((b".", b"-")) or (before.endswith(b"/") and not before.endswith(b"//")):
        return None
    if _MORE.match(raw, found.end()) or _NO_ADDRESS.search(before):
        return None
    return found.span() if _is_somebodys(IPv4Address, found[0]) else None


def _ipv6(raw: bytes, at: int) -> Span | None:
    """The address on the internet that hexadecimal digits and colons are; a colon behind it is none of it.

    >>> text = b"[2a02:6b8::2:242]:443 2a02:6b8::2:242: ::1 fe80::1 12:30:45 std::a"
    >>> [text[slice(*_ipv6(text, found.start()) or (0, 0))] for found in _IPV6.finditer(text)][:4]
    [b'2a02:6b8::2:242', b'', b'2a02:6b8::2:242', b'']
    """
    found = _IPV6.match(raw, at)
    if (
        not found
        or raw[found.end() : found.end() + 1].strip(b"0123456789ABCDEFabcdef:") != raw[found.end() : found.end() + 1]
    ):
        return None
    text = found[0].removesuffix(b":") if not found[0].endswith(b"::") else found[0]
    end = at + len(text)
    if b"::" not in text and text.count(b":") != 7:
        return None
    return (at, end) if _stands_alone(raw, at, end) and _is_somebodys(IPv6Address, text) else None


@lru_cache(maxsize=1 << 12)
def _is_somebodys(kind: type[IPv4Address | IPv6Address], text: bytes) -> bool:
    try:
        address = int(kind(text.decode("ascii")))
    except AddressValueError:
        return False
    return not any(first <= address <= last for first, last in _NOBODYS_NETWORKS[kind])


def _iban(raw: bytes, at: int) -> Span | None:
    """The international bank account number of its country's length and with the right check digits (ISO 7064).

    >>> text = b"IBAN: GB29 NWBK 6016 1331 9268 19, DE89370400440532013000, DE89370400440532013001"
    >>> [text[slice(*_iban(text, found.start()) or (0, 0))] for found in re.finditer(b"GB|DE", text)]
    [b'GB29 NWBK 6016 1331 9268 19', b'DE89370400440532013000', b'']
    """
    found = _IBAN.match(raw, at)
    if not found:
        return None
    length = _IBAN_LENGTHS.get(found[0][:2].decode("ascii"), 0)
    spaced = found[0][4:5] == b" "
    size = length + (length - 1) // 4 if spaced else length
    text = found[0][:size]
    compact = text.replace(b" ", b"")
    if not length or len(compact) != length or not _stands_alone(raw, at, at + size):
        return None
    if spaced and text != b" ".join(compact[place : place + 4] for place in range(0, length, 4)):
        return None
    number = int("".join(str(int(sign, 36)) for sign in (compact[4:] + compact[:4]).decode("ascii")))
    return (at, at + size) if number % 97 == 1 else None


def _card(raw: bytes, at: int) -> Span | None:
    """The number of a payment card: an issuer's first digits and length, grouped as embossed, the right check digit.

    >>> text = b"4111 1111 1111 1111, 4111-1111-1111-1112, 3782 822463 10005, 0.4111111111111111"
    >>> [text[slice(*_card(text, found.start()) or (0, 0))] for found in _CARD.finditer(text)]
    [b'4111 1111 1111 1111', b'', b'3782 822463 10005', b'']
    """
    found = _CARD.match(raw, at)
    if not found or not _stands_alone(raw, *found.span()) or _IN_A_LONGER_NUMBER.search(raw[max(0, at - 6) : at]):
        return None
    if _AND_LONGER.match(raw, found.end()):
        return None
    digits = b"".join(_DIGITS.findall(found[0])).decode("ascii")
    return found.span() if _ISSUER.fullmatch(digits) and _luhn(digits) else None


def _luhn(digits: str) -> bool:
    """Whether the last digit is right (ISO/IEC 7812-1, annex B).

    >>> _luhn("79927398713"), _luhn("79927398710")
    (True, False)
    """
    doubled = (divmod(2 * int(digit), 10) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(map(sum, doubled))) % 10 == 0


def _key(raw: bytes, at: int) -> Span | None:
    r"""The private key, or the token of a service that marks its own; not those that documentation prints.

    >>> text = b"AKIAIOSFODNN7EXAMPLE AKIAFICTIONALKEY1234 xoxb-000-made-up-token ghp_tooshort"
    >>> [text[slice(*_key(text, found.start()) or (0, 0))] for found in re.finditer(rb"\S+", text)]
    [b'', b'AKIAFICTIONALKEY1234', b'xoxb-000-made-up-token', b'']
    """
    found = _KEY.match(raw, at)
    if not found or not _stands_alone(raw, *found.span()) or found[0].endswith(b"EXAMPLE"):
        return None
    return found.span()


def _stands_alone(raw: bytes, start: int, end: int) -> bool:
    """Whether no letter, digit or underscore of ASCII stands right before or after."""
    return not any(side.isalnum() or side == b"_" for side in (raw[start - 1 : start], raw[end : end + 1]))


# What publish puts in the place of what was found. All of it is kept for documentation or fiction, or given out to
# nobody, so that measuring the published text finds none of it.

#: Area codes; behind each 555-0100 to 555-0199 are kept for fiction (North American Numbering Plan).
_AREAS = ("201", "212", "303", "312", "404", "415", "512", "617", "702", "808")
_DOMAINS = ("example.com", "example.net", "example.org")  # RFC 2606
_BLOCKS = ("192.0.2", "198.51.100", "203.0.113")  # RFC 5737
_TOKEN = re.compile(
    r"-----BEGIN [A-Z ]+-----|[A-Za-z]+_(?:pat_|live_)?|[a-z]+-(?:ant-|proj-|svcacct-)?|A[KS]IA|AIza|eyJ"
)


def stand_ins(spans: list[str], key: bytes) -> list[str]:
    """What publish puts in the place of each span of one document: of the same kind, and nobody's.

    The same value has the same stand-in, two values have two until the range of their kind is used up: 30,000 addresses
    of e-mail, 1,000 telephone numbers, 762 IPv4 addresses, 65,535 of IPv6, a million accounts and cards. Which one it
    is depends on `key` and on the order in which values first appear, never on the value: nothing can be looked up.

    >>> spans = ["jo@no-such-company.com", "81.2.69.142", "JO@no-such-company.com", "GB29 NWBK 6016 1331 9268 19"]
    >>> stand_ins(spans, b"")
    ['user2703@example.com', '203.0.113.78', 'user2703@example.com', 'XX00 0000 0000 0000 0062 36']
    """
    numbers: dict[tuple[str, str], int] = {}
    seen: Counter[str] = Counter()
    answers = []
    for span in spans:
        kind = kind_of(span)
        value = _value(kind, span)
        if (kind, value) not in numbers:
            first = int.from_bytes(blake2b(kind.encode(), key=key, digest_size=8).digest(), "big")
            numbers[kind, value] = first + seen[kind]
            seen[kind] += 1
        answers.append(_STAND_INS[kind](span, numbers[kind, value]))
    return answers


def kind_of(span: str) -> str:
    """Which kind a span of `pii` is, by its form alone: no two have the same.

    >>> [kind_of(span) for span in ("a@no-such-company.org", "+44 20 7946 0018", "81.2.69.142", "2a02:6b8::2:242")]
    ['email', 'phone', 'ipv4', 'ipv6']
    >>> [kind_of(span) for span in ("GB29NWBK60161331926819", "4111 1111 1111 1111", "xoxb-made-up-token-123")]
    ['iban', 'card', 'key']
    """
    return next(kind for kind, form in _FORMS.items() if form.match(span))


def _value(kind: str, span: str) -> str:
    """What two spellings of the same have in common."""
    if kind in ("phone", "card"):
        digits = re.sub(r"[^0-9]", "", span)
        return digits[1:] if kind == "phone" and len(digits) == 11 and digits[0] == "1" else digits
    return re.sub(" ", "", span).lower() if kind != "key" else span


def _email_stand_in(_: str, number: int) -> str:
    host, user = number % 3, number // 3 % 10_000
    return f"user{user}@{_DOMAINS[host]}"


def _phone_stand_in(span: str, number: int) -> str:
    area, last = _AREAS[number // 100 % 10], f"555-01{number % 100:02}"
    return f"+1 {area}-{last}" if span.startswith(("+", "00")) else f"{area}-{last}"


def _ipv4_stand_in(_: str, number: int) -> str:
    return f"{_BLOCKS[number % 3]}.{number // 3 % 254 + 1}"


def _ipv6_stand_in(_: str, number: int) -> str:
    return f"2001:db8::{number % 65_535 + 1:x}"


def _iban_stand_in(span: str, number: int) -> str:
    """XX is of those codes that ISO 3166 gives to no country, and 00 are never the right check digits."""
    compact = f"XX00{number % 1_000_000:018}"
    return " ".join(re.findall(".{1,4}", compact)) if " " in span else compact


def _card_stand_in(span: str, number: int) -> str:
    """No issuer's numbers begin with 0 (ISO/IEC 7812)."""
    separator = span[4] if not span[4].isdigit() else ""
    return separator.join(re.findall("....", f"{number % 1_000_000:016}"))


def _key_stand_in(span: str, number: int) -> str:
    """The beginning that tells whose key it was, and `EXAMPLE`, as Amazon's documentation has it."""
    mark = _TOKEN.match(span)
    begin = mark[0] if mark else ""
    end = f"\n{begin.replace('BEGIN', 'END')}" if begin.startswith("-----") else ""
    return f"{begin}{chr(10) if end else ''}{number % 1000}EXAMPLE{end}"


#: What no other kind looks like, asked in this order.
_FORMS = {
    "email": re.compile(r"[^@\n]+@"),
    "key": re.compile(_KEY.pattern.decode("ascii")),
    "iban": re.compile(r"[A-Z]{2}[0-9]{2}[0-9A-Z ]+\Z"),
    "ipv4": re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z"),
    "ipv6": re.compile(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*\Z"),
    "card": re.compile(r"[2-6][0-9]{3}(?:([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}|([ -]?)[0-9]{6}\2[0-9]{4,5})\Z"),
    "phone": re.compile(r"[+(0-9]"),
}
_STAND_INS: dict[str, Callable[[str, int], str]] = {
    "email": _email_stand_in, "phone": _phone_stand_in, "ipv4": _ipv4_stand_in, "ipv6": _ipv6_stand_in,
    "iban": _iban_stand_in, "card": _card_stand_in, "key": _key_stand_in,
}  # fmt: skip

#: The columns in their order.
_KINDS = ("email_count", "phone_count", "ip_count", "iban_count", "card_count", "key_count")
#: For each form that the kernel knows, in its order: the column, and what decides.
_VERDICTS: tuple[tuple[int, Callable[[bytes, int], Span | None]], ...] = (
    (0, _email), (1, _phone), (1, _national), (2, _ipv4), (2, _ipv6), (3, _iban), (4, _card), (5, _key),
)  # fmt: skip
