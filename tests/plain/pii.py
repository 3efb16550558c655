"""The signal `pii` as it was written first: every text is searched with every pattern, in Python.

Since then it learned telephone numbers without a plus, that numbers are kept for fiction, and the names of messages;
and it does not lose what stands right behind another number.
"""

from __future__ import annotations

import re
import string
from array import array
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from curation.schema import SPANS
from curation.signals import pii

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

    from curation.signals.batch import Batch

# All patterns read bytes of UTF-8, so that their places are the spans. None takes more than linear time: each repeats
# without ambiguity or within bounds, and what stands around a match is looked at afterwards. A pattern that begins with
# plain characters is searched for at 1-2 GB/s, any other at a tenth of that, so these come second.

_DOMAIN = re.compile(rb"@([A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}+)")
_LOCAL_BACKWARDS = re.compile(rb"[A-Za-z0-9._%+'-]{1,65}")
#: What comes before the name of a message, or before user and password of a URL.
_NO_MAILBOX = re.compile(
    rb"(?:(?:message-id|in-reply-to|references|articles?|message)\s{0,9}:?\s{0,9}<|://[^\s/@<>\"']{0,64})\Z",
    re.IGNORECASE,
)
#: RFC 2606 and 6761: nobody has these.
_RESERVED = ("example", "example.com", "example.net", "example.org", "test", "invalid", "localhost")

_TWO_DOTS = re.compile(rb"\.[0-9]{1,3}\.[0-9]")
_IPV4 = re.compile(rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
#: What comes before a number that is a version, or a place in a book.
_NO_ADDRESS = re.compile(
    rb"(?:(?:\b(?:v|ver|releases?|build|rev|revision|firmware|fw|fassung|driver|kernel|section|sect?|chapter|clause|"
    rb"figure|fig|table|appendix|equation|eq|oid)|versions?)|\xc2\xa7)(?: is)?[ .:=#\"'(>]{0,3}\Z",
    re.IGNORECASE,
)
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
#: North America: neither area nor exchange begins with 0 or 1.
_NORTH_AMERICAN = re.compile(r"[2-9]\d\d(?!55501)[2-9]\d{6}")

#: Turns capitals into "A" and digits into "0".
_SHAPE = bytes(
    ord("A") if chr(n) in string.ascii_uppercase else ord("0") if chr(n) in string.digits else n for n in range(256)
)
_IBAN_SHAPE = re.compile(rb"AA00")
_CARD_SHAPE = re.compile(rb"0000[ -]?00000?[ -]?00")

_IBAN = re.compile(rb"(?<![0-9A-Za-z_])(?=([A-Z][A-Z][0-9][0-9](?: ?[0-9A-Z]{1,4}+){3,30}))")
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

#: All digits together, or in the groups that are embossed.
_CARD = re.compile(
    rb"(?<![0-9A-Za-z_])(?=([2-6][0-9]{3}(?:([ -]?)[0-9]{4}\2[0-9]{4}\2[0-9]{4}|([ -]?)[0-9]{6}\3[0-9]{4,5})))"
)
_IN_A_LONGER_NUMBER = re.compile(rb"[./+-]\Z|(?<![0-9])[0-9]{4} \Z")
_AND_LONGER = re.compile(rb"[.-][0-9]| [0-9]{4}(?![0-9])")
#: American Express, Diners Club, Visa, Mastercard, Discover, UnionPay, JCB, each with its length.
_ISSUER = re.compile(
    r"3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|4\d{15}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|352[89]|35[3-8]\d)\d{12}"
)

_KEYS = (
    re.compile(  # PEM, as a file has it or a string in code; a first line alone is only talked about
        rb"-----BEGIN (?:[A-Z]{2,9} )?PRIVATE KEY(?: BLOCK)?-----(?:(?:[A-Za-z0-9+/=:,. \r\n\\]|-(?!----)){64,}+"
        rb"-----END (?:[A-Z]{2,9} )?PRIVATE KEY(?: BLOCK)?-----|(?:[\r\n]|\\[nr]){1,4}[A-Za-z0-9+/=]{40,}+)"
    ),
    re.compile(rb"AKIA[0-9A-Z]{16}"),  # Amazon
    re.compile(rb"ASIA[0-9A-Z]{16}"),
    re.compile(rb"gh[oprsu]_[A-Za-z0-9]{36,255}"),  # GitHub
    re.compile(rb"github_pat_[A-Za-z0-9_]{60,255}"),
    re.compile(rb"glpat-[A-Za-z0-9_-]{20,255}"),  # GitLab
    re.compile(rb"xox[abeoprs]-[0-9A-Za-z-]{10,255}"),  # Slack
    re.compile(rb"AIza[0-9A-Za-z_-]{35}"),  # Google
    re.compile(rb"[rs]k_live_[0-9A-Za-z]{24,255}"),  # Stripe
    re.compile(rb"sk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{32,255}"),  # Anthropic, OpenAI
    re.compile(rb"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
    re.compile(rb"hf_[A-Za-z]{34}"),  # Hugging Face
    re.compile(rb"npm_[A-Za-z0-9]{36}"),
    re.compile(rb"pypi-AgE[A-Za-z0-9_-]{50,255}"),
    re.compile(  # JSON Web Token
        rb"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{10,}+\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}+"
    ),
)

Spans: TypeAlias = Iterator[tuple[int, int]]


def measure(batch: Batch) -> dict[str, Any]:
    """How much of each kind a document holds, and where; of two that overlap the one that begins first counts."""
    counts = np.zeros((len(_FINDERS), len(batch)), np.int32)
    starts, ends, offsets = array("i"), array("i"), array("i", [0])
    for row, raw in enumerate(batch.text.cast(pa.binary()).to_pylist()):
        free = 0
        first, last, kinds = _found(raw or b"")
        for place in np.lexsort((kinds, last, first)):
            if first[place] >= free:
                counts[kinds[place], row] += 1
                starts.append(first[place])
                ends.append(last[place])
                free = last[place]
        offsets.append(len(starts))
    bounds = [pa.array(np.frombuffer(values, np.int32)) for values in (starts, ends)]
    spans = pa.StructArray.from_arrays(bounds, fields=list(SPANS.value_type))
    columns = dict(zip(_FINDERS, counts, strict=True))
    return columns | {"pii": pa.ListArray.from_arrays(pa.array(np.frombuffer(offsets, np.int32)), spans, type=SPANS)}


def _found(raw: bytes) -> tuple[array[int], array[int], array[int]]:
    """Start, end and kind of everything, kind by kind; what is found twice as well. A text may be all addresses."""
    starts, ends, kinds = array("i"), array("i"), array("i")
    for kind, find in enumerate(_FINDERS.values()):
        for start, end in find(raw):
            starts.append(start)
            ends.append(end)
            kinds.append(kind)
    return starts, ends, kinds


def _emails(raw: bytes) -> Spans:
    r"""Addresses of e-mail at domains that someone can have.

    >>> text = b"Jo <jo.doe@mail.no-such-company.co.uk>, docs@example.com, icon@2x.png, react@18.2.0, git@host.com:a/b"
    >>> [text[start:end] for start, end in _emails(text)]
    [b'jo.doe@mail.no-such-company.co.uk']
    """
    if b"@" not in raw:
        return
    message = 0
    for found in _DOMAIN.finditer(raw):
        at = found.start()
        backwards = _LOCAL_BACKWARDS.match(raw[max(0, at - 65) : at][::-1])
        local = backwards[0][::-1].lstrip(b"'.%-") if backwards else b""
        if len(local) <= 64 and raw[max(0, at - len(local) - 1) : at - len(local)] >= b"\x80" and local[-1:] != b".":
            local = (
                re.search(
                    rb"((?:[\xc3-\xc5][\x80-\xbf]|[A-Za-z0-9._%+'-])*)\Z",
                    raw[max(0, at - len(local) - 64) : at - len(local)],
                )[1]
                + local
            )
        if (
            not local
            or (len(local) > 64 and local.isascii())
            or local.endswith(b".")
            or (local == b"git" and raw[found.end() :][:1] in b":/")
        ):
            continue
        domain, start = found[1].rstrip(b"-"), at - len(local)
        if not _can_be_had(domain.decode("ascii").lower()):
            continue
        before, end = raw[max(0, start - 80) : start], found.start(1) + len(domain)
        if (
            message
            and raw[start - 1 : start] == b"<"
            and start - 1 <= message + 16
            and not raw[message + 1 : start - 1].strip()
        ):
            message = end
        elif not _NO_MAILBOX.search(before):
            yield start, end
        elif before.endswith(b"<"):
            message = end


@lru_cache(maxsize=1 << 16)
def _can_be_had(domain: str) -> bool:
    """Whether someone can have registered a domain: its suffix exists, and it is not kept for documentation.

    >>> _can_be_had("mail.bbc.co.uk"), _can_be_had("co.uk"), _can_be_had("2x.png"), _can_be_had("docs.example.com")
    (True, False, False, False)
    """
    registered = _suffixes().privatesuffix(domain)
    return registered is not None and registered not in _RESERVED


@cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  # 0.1 s, only where a text has an "@"

    return PublicSuffixList(accept_unknown=False, only_icann=True)


def _phones(raw: bytes) -> Spans:
    """Telephone numbers in international form: "+", a country's code, as many digits as numbers have there.

    >>> text = b"+44 (0)20 7946 0958, tel:+12025560143, GMT+1000 2002, C++11, +0200, +1234567890"
    >>> [text[start:end] for start, end in _phones(text)]
    [b'+44 (0)20 7946 0958', b'+12025560143']
    """
    for found in _DIGITS.finditer(raw):
        if not raw[max(0, found.start() - 1) : found.start()].isalnum() and (span := pii._national(raw, found.start())):
            yield span
    for found in _PHONE.finditer(raw):
        start, end = found.span()
        if not _stands_alone(raw, start, end) or raw[start - 1 : start] == b"+":
            continue
        groups = [(start + group.start(), start + group.end()) for group in _DIGITS.finditer(found[0])]
        for last in range(len(groups), 0, -1):  # another number may follow
            begins, ends = groups[last - 1]
            if ends - begins == 1 and raw[begins - 1 : begins] != b"-":  # "-0" is a German switchboard
                continue
            if re.match(rb"\.[0-9]", raw[ends : ends + 2]):
                continue
            if _is_phone([raw[slice(*group)].decode("ascii") for group in groups[:last]]):
                yield start, ends
                break


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


def _ips(raw: bytes) -> Spans:
    """Addresses on the internet, not those of versions, private networks and documentation.

    >>> text = b"from 81.2.69.142, 192.168.0.1, 192.0.2.7, version 1.23.45.67, 1.2.3.4, [2a02:6b8::2:242], 12:30:45"
    >>> [text[start:end] for start, end in _ips(text)]
    [b'81.2.69.142', b'2a02:6b8::2:242']
    """
    if _TWO_DOTS.search(raw):
        for found in _IPV4.finditer(raw):
            if _is_ipv4(raw, *found.span()):
                yield found.span()
    for run in re.finditer(rb"[0-9A-Fa-f:]+", raw):
        text = run[0].removesuffix(b":") if not run[0].endswith(b"::") else run[0]
        if len(text) > 48 or (b"::" not in text and text.count(b":") != 7):
            continue
        end = run.start() + len(text)
        if _stands_alone(raw, run.start(), end) and _is_somebodys(IPv6Address, text):
            yield run.start(), end


def _is_ipv4(raw: bytes, start: int, end: int) -> bool:
    """Whether four numbers between dots are an address.

    They are not if the first two have a single digit: those are versions and places in books, and one address in a
    thousand. Nor is what ends in 0: a version, a network, or an address that was made anonymous.
    """
    if raw[start + 1 : start + 4 : 2] == b".." or raw[start:end].endswith(b".0") or not _stands_alone(raw, start, end):
        return False
    before = raw[max(0, start - 24) : start]
    if before.endswith((b".", b"-")) or (before.endswith(b"/") and not before.endswith(b"//")):
        return False
    if re.match(rb"\.[0-9]|-[A-Za-z]", raw[end : end + 2]) or _NO_ADDRESS.search(before):
        return False
    return _is_somebodys(IPv4Address, raw[start:end])


def _is_somebodys(kind: type[IPv4Address | IPv6Address], text: bytes) -> bool:
    try:
        address = int(kind(text.decode("ascii")))
    except AddressValueError:
        return False
    return not any(first <= address <= last for first, last in _NOBODYS_NETWORKS[kind])


def _ibans(raw: bytes) -> Spans:
    """International bank account numbers of their country's length and with the right check digits (ISO 7064).

    >>> text = b"IBAN: GB29 NWBK 6016 1331 9268 19, DE89370400440532013000, DE89370400440532013001"
    >>> [text[start:end] for start, end in _ibans(text)]
    [b'GB29 NWBK 6016 1331 9268 19', b'DE89370400440532013000']
    """
    if not _IBAN_SHAPE.search(raw.translate(_SHAPE)):
        return
    for found in _IBAN.finditer(raw):
        length = _IBAN_LENGTHS.get(found[1][:2].decode("ascii"), 0)
        spaced = found[1][4:5] == b" "
        size = length + (length - 1) // 4 if spaced else length
        text = found[1][:size]
        compact = text.replace(b" ", b"")
        if length and len(compact) == length and _stands_alone(raw, found.start(), found.start() + size):
            if spaced and text != b" ".join(compact[place : place + 4] for place in range(0, length, 4)):
                continue
            if int("".join(str(int(sign, 36)) for sign in (compact[4:] + compact[:4]).decode("ascii"))) % 97 == 1:
                yield found.start(), found.start() + size


def _cards(raw: bytes) -> Spans:
    """Numbers of payment cards: an issuer's first digits and length, grouped as embossed, the right check digit.

    >>> text = b"4111 1111 1111 1111, 4111-1111-1111-1112, 3782 822463 10005, 0.4111111111111111"
    >>> [text[start:end] for start, end in _cards(text)]
    [b'4111 1111 1111 1111', b'3782 822463 10005']
    """
    if not _CARD_SHAPE.search(raw.translate(_SHAPE)):
        return
    for found in _CARD.finditer(raw):
        start, end = found.span(1)
        if not _stands_alone(raw, start, end) or _IN_A_LONGER_NUMBER.search(raw[max(0, start - 6) : start]):
            continue
        if _AND_LONGER.match(raw, end):
            continue
        digits = b"".join(_DIGITS.findall(found[1])).decode("ascii")
        if _ISSUER.fullmatch(digits) and _luhn(digits):
            yield start, end


def _luhn(digits: str) -> bool:
    """Whether the last digit is right (ISO/IEC 7812-1, annex B).

    >>> _luhn("79927398713"), _luhn("79927398710")
    (True, False)
    """
    doubled = (divmod(2 * int(digit), 10) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(map(sum, doubled))) % 10 == 0


def _keys(raw: bytes) -> Spans:
    """Private keys, and the tokens of services that mark theirs; not those that their documentation prints.

    >>> text = b"AKIAIOSFODNN7EXAMPLE AKIAFICTIONALKEY1234 xoxb-000-made-up-token ghp_tooshort"
    >>> [text[start:end] for start, end in _keys(text)]
    [b'AKIAFICTIONALKEY1234', b'xoxb-000-made-up-token']
    """
    for pattern in _KEYS:
        at = 0
        while found := pattern.search(raw, at):
            at = found.start() + 1  # where this is none, one may begin inside it
            if _stands_alone(raw, *found.span()) and not found[0].endswith(b"EXAMPLE"):
                yield found.span()
                at = found.end()


def _stands_alone(raw: bytes, start: int, end: int) -> bool:
    """Whether no letter, digit or underscore of ASCII stands right before or after."""
    return not any(side.isalnum() or side == b"_" for side in (raw[start - 1 : start], raw[end : end + 1]))


#: By column.
_FINDERS: dict[str, Callable[[bytes], Spans]] = {
    "email_count": _emails,
    "phone_count": _phones,
    "ip_count": _ips,
    "iban_count": _ibans,
    "card_count": _cards,
    "key_count": _keys,
}
