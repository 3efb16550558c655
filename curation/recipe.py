"""The recipe: one TOML file with everything that decides the bytes of a release; its types, and loading it.

Every fault is reported at once, each with its place. What needs the signals' columns (SQL in rules, `prefer`, `where`)
is checked by `rules.check`, still before the first byte is read.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from curation import tokenizing
from curation.endpoint.service import Server as EndpointServer
from curation.endpoint.service import Service
from curation.errors import RecipeError
from curation.sources import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _wrong(value: object) -> PydanticCustomError:
    return PydanticCustomError("wrong", "wrong value {value}", {"value": value})


def _bytes(value: object) -> int:
    """A size in bytes, written as a number or like "256MB" or "1.5 GiB"."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?B?)", value.strip().upper()) if isinstance(value, str) else None
    if not found or found.group(2) not in _UNITS or float(found.group(1)) == 0:
        raise _wrong(value)
    return int(float(found.group(1)) * _UNITS[found.group(2)])


def _predicate(value: object) -> str | Literal[False]:
    if value is False or (isinstance(value, str) and value.strip()):
        return value
    raise _wrong(value)


def _version(value: object) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.strftime("%Y.%m.%d")
    if isinstance(value, str) and re.fullmatch(r"\d{4}\.\d{2}\.\d{2}(\.[1-9]\d*)?", value):
        return value
    raise _wrong(value)


def _tokenizer(value: str) -> str:
    if not tokenizing.is_tokenizer(value):
        raise _wrong(value)
    return value


def _field(expected: str, default: Any = ..., **rest: Any) -> Any:
    """A field; `expected` completes the sentence "expected …" in messages and documentation."""
    return Field(default, description=expected, **rest)


Text = Annotated[str, Strict()]
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Switch = Annotated[bool, Strict()]
Name = Annotated[str, Strict(), Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
_NAME = "a name of lower-case letters, digits, - and _"
_SHARE = "a number from 0 to 1"
_TOKENS = "a whole number of tokens"


#: What may be said of every object that is written to S3, by boto3's names for it.
S3_OPTIONS = (
    "ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP", "SSEKMSEncryptionContext", "SSEKMSKeyId",
    "ServerSideEncryption", "StorageClass",
)  # fmt: skip


def _s3(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name not in S3_OPTIONS:
            message = unknown(name, S3_OPTIONS, "option")
            raise PydanticCustomError("place", "{message}", {"at": [name], "message": message})
    return value


S3Options = Annotated[dict[str, Text], AfterValidator(_s3)]
_S3 = 'a table of boto3\'s options, like { ServerSideEncryption = "aws:kms" }'


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Table):
    """Where documents come from."""

    name: Name = _field(_NAME)
    kind: Literal[KINDS] = _field("one of " + ", ".join(KINDS))  # type: ignore[valid-type]
    paths: Annotated[list[Text], Field(min_length=1)] = _field("a list of paths or patterns")
    root: Text | None = _field("a path: the folder that names of inputs are relative to", None)
    license: Text | None = _field("a text: the licence of documents that state none", None)
    fields: dict[str, Text] = _field(
        'a table from document columns to names in the input, or SQL over them, like { text = "body" }',
        default_factory=dict,
    )
    where: Text | None = _field("an SQL predicate as text: the documents that are wanted", None)
    max_loss: Annotated[Number, Field(ge=0, le=1)] | None = _field(_SHARE, None)
    endpoint: Name | None = _field("the name of a table [endpoint.NAME]", None)
    run_code: Switch = _field("true or false", default=False)

    @model_validator(mode="after")
    def _runs_what_was_written(self) -> Self:
        if self.run_code and self.kind != "textbooks":
            message = f"only code of textbooks is run, not of {self.kind}"
            raise PydanticCustomError("place", "{message}", {"at": ["run_code"], "message": message})
        return self

    @model_validator(mode="after")
    def _asks_where_it_must(self) -> Self:
        asks = self.kind == "textbooks"
        if asks != (self.endpoint is not None):
            message = (
                "missing: expected the name of a table [endpoint.NAME]"
                if asks
                else (f"only textbooks are asked of an endpoint, not {self.kind}")
            )
            raise PydanticCustomError("place", "{message}", {"at": ["endpoint"], "message": message})
        return self

    @model_validator(mode="after")
    def _fields_are_columns(self) -> Self:
        known = ("text", "uri", "title", "license", "created_at")
        for column in self.fields:
            if column not in known:
                raise PydanticCustomError(
                    "place", "{message}", {"at": ["fields", column], "message": unknown(column, known, "column")}
                )
        if self.fields and self.kind not in ("jsonl", "parquet"):
            message = f"only jsonl and parquet have fields to map, not {self.kind}"
            raise PydanticCustomError("place", "{message}", {"at": ["fields"], "message": message})
        return self


class Extract(_Table):
    """How the main text is found in HTML."""

    engine: Literal["blocks", "resiliparse", "trafilatura"] = _field("blocks, resiliparse or trafilatura", "blocks")
    format: Literal["text", "markdown"] = _field("text or markdown", "text")
    model: Text = _field('"default" or the path of a model file', "default")

    @model_validator(mode="after")
    def _is_done_by_blocks(self) -> Self:
        for key, value, default in (("format", self.format, "text"), ("model", self.model, "default")):
            if value != default and self.engine != "blocks":
                message = f'{self.engine} knows only "{default}"; "{value}" needs engine = "blocks"'
                raise PydanticCustomError("place", "{message}", {"at": [key], "message": message})
        return self


class Dedup(_Table):
    """Which documents count as copies of another, and which of them stays."""

    enabled: Switch = _field("true or false", default=True)
    similarity: Annotated[Number, Field(gt=0, le=1)] = _field("a number above 0, at most 1", 0.75)
    verify: Literal["signature", "exact"] = _field("signature or exact", "signature")
    bands: Annotated[Whole, Field(ge=1, le=256)] = _field("a whole number from 1 to 256", 18)
    rows: Annotated[Whole, Field(ge=1, le=64)] = _field("a whole number from 1 to 64", 6)
    ngram: Annotated[Whole, Field(ge=1, le=100)] = _field("a whole number of words from 1 to 100", 5)
    prefer: Text = _field("SQL to order by, best first", "education_score desc, word_count desc")
    stable: Switch = _field("true or false", default=False)
    against: list[Text] = _field("a list of paths of releases, or of folders or files of Parquet", default_factory=list)
    max_loss: Annotated[Number, Field(ge=0, le=1)] = _field(_SHARE, 0.5)

    @model_validator(mode="after")
    def _entries_differ(self) -> Self:
        for index, entry in enumerate(self.against):
            if not entry.strip() or not entry.isprintable():
                message = f"expected a path, got {json.dumps(entry)}"
            elif entry in self.against[:index]:
                message = f'"{entry}" stands in it twice'
            else:
                continue
            raise PydanticCustomError("place", "{message}", {"at": ["against", index], "message": message})
        return self


class Rules(_Table):
    """What is dropped: named presets, and predicates of one's own."""

    presets: list[Text] = _field("a list of preset names", default_factory=list)
    alarm_share: Annotated[Number, Field(gt=0, le=1)] = _field("a number above 0, at most 1", 0.8)
    own: dict[Name, Annotated[str | Literal[False], BeforeValidator(_predicate)]] = _field(
        "an SQL predicate as text, or false to switch a preset's rule off", default_factory=dict
    )

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        fixed = {key: value for key, value in table.items() if key in ("presets", "alarm_share")}
        return fixed | {"own": {key: value for key, value in table.items() if key not in fixed}}


class Edit(_Table):
    """What is cut out of the documents that are published, and what is replaced in them."""

    remove: list[Text] = _field("a list of edits, like c4_lines", default_factory=list)
    replace: list[Text] = _field("a list of edits that have stand-ins, like pii", default_factory=list)
    where: Text = _field("an SQL predicate as text: the documents to edit", "true")


class _Bounded(_Table):
    """A minimum and a maximum."""

    min_share: Annotated[Number, Field(ge=0, le=1)] | None = _field(_SHARE, None)
    max_share: Annotated[Number, Field(ge=0, le=1)] | None = _field(_SHARE, None)
    min_tokens: Annotated[Whole, Field(ge=0, lt=10**15)] | None = _field(_TOKENS, None)
    max_tokens: Annotated[Whole, Field(ge=0, lt=10**15)] | None = _field(_TOKENS, None)

    @property
    def is_bounded(self) -> bool:
        """Whether there is a minimum or a maximum."""
        return any(one is not None for one in (self.min_share, self.max_share, self.min_tokens, self.max_tokens))

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for key, least, most in (
            ("share", self.min_share, self.max_share), ("tokens", self.min_tokens, self.max_tokens)
        ):  # fmt: skip
            if least is not None and most is not None and least > most:
                message = f"expected at most max_{key}, {most:g}, got {least:g}"
                raise PydanticCustomError("place", "{message}", {"at": [f"min_{key}"], "message": message})
        return self


class Group(_Bounded):
    """A share of the blend."""

    name: Name = _field(_NAME)
    where: Text = _field("an SQL predicate as text")
    share: Annotated[Number, Field(gt=0, le=1)] | None = _field(_SHARE, None)
    tokens: Annotated[Whole, Field(gt=0, lt=10**15)] | None = _field(_TOKENS, None)
    max_copies: Annotated[Whole, Field(ge=1, le=1000)] = _field("a whole number from 1 to 1000", 1)
    max_per_domain: Annotated[Whole, Field(ge=1, lt=10**9)] | None = _field("a whole number of documents", None)
    order: Text | None = _field("SQL to order by, best first", None)
    group: list[Group] = _field("tables [[blend.group.group]]", default_factory=list)

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        problem: tuple[str, str] | None = None
        exact = "share" if self.share is not None else "tokens" if self.tokens is not None else None
        if self.share is not None and self.tokens is not None:
            problem = "tokens", "expected share or tokens, got both"
        elif exact and self.is_bounded:
            problem = exact, "expected it alone, or a minimum and a maximum in its place"
        elif self.group:
            for key, value in (("max_per_domain", self.max_per_domain), ("order", self.order)):
                if value is not None:
                    problem = key, "expected in the sub-groups, which hold the documents"
            if self.max_copies != 1:
                problem = "max_copies", "expected in the sub-groups, which hold the documents"
        if problem:
            raise PydanticCustomError("place", "{message}", {"at": [problem[0]], "message": problem[1]})
        return self


class Limit(_Bounded):
    """Bounds on documents of whatever group."""

    name: Name = _field(_NAME)
    where: Text = _field("an SQL predicate as text")

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if not self.is_bounded:
            message = "expected min_share, max_share, min_tokens or max_tokens"
            raise PydanticCustomError("place", "{message}", {"at": [], "message": message})
        return self


class Blend(_Table):
    """How much of what."""

    tokens: Annotated[Whole, Field(gt=0, lt=10**15)] | None = _field(_TOKENS, None)
    tokenizer: Annotated[str, Strict(), AfterValidator(_tokenizer)] = _field(
        'an estimate like "bytes/4", or the path of a tokenizer.json', "bytes/4"
    )
    rest: Literal["error", "drop"] = _field("error or drop", "error")
    short: Literal["warn", "error"] = _field("warn or error", "warn")
    group: list[Group] = _field("tables [[blend.group]]", default_factory=list)
    limit: Annotated[list[Limit], Field(max_length=16)] = _field(
        "tables [[blend.limit]], at most 16", default_factory=list
    )

    @property
    def budget(self) -> int | None:
        """The tokens that are asked for: `tokens`, or those of the groups where each says how many it wants."""
        if self.tokens is None and self.group and all(group.tokens is not None for group in self.group):
            return sum(group.tokens or 0 for group in self.group)
        return self.tokens

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        problem = _sharing_fault(self.group, self.budget, ["group"], is_top=True)
        if problem is None and len({limit.name for limit in self.limit}) < len(self.limit):
            problem = ["limit"], "two limits have the same name"
        elif problem is None and self.budget is None and self.limit:
            problem = ["tokens"], "expected a whole number of tokens: limits are limits of it"
        if problem:
            raise PydanticCustomError("place", "{message}", {"at": problem[0], "message": problem[1]})
        return self


#: A place in the recipe below a table, and what is wrong there.
_Fault = tuple[list[str | int], str]


def _sharing_fault(
    groups: list[Group], budget: int | None, at: list[str | int], *, is_top: bool, tokens: int | None = None
) -> _Fault | None:
    """What is wrong with how groups share out what they are given: `tokens` of them, if that is known."""
    tokens = budget if is_top else tokens
    if len({group.name for group in groups}) < len(groups):
        return at, "two groups have the same name"
    for index, group in enumerate(groups):
        here = [*at, index]
        if fault := _asking_fault(group, budget, here, is_top=is_top):
            return fault
        mine = round(tokens * group.share) if group.share is not None and tokens is not None else group.tokens
        if fault := _sharing_fault(group.group, budget, [*here, "group"], is_top=False, tokens=mine):
            return fault
    return None if budget is None or not groups else _sum_fault(groups, at, tokens)


def _asking_fault(group: Group, budget: int | None, at: list[str | int], *, is_top: bool) -> _Fault | None:
    """What is wrong with a group that asks for something without a budget, or for nothing with one."""
    is_wanted = group.share is not None or group.tokens is not None or group.is_bounded
    if budget is None and is_wanted:
        return ["tokens"] if is_top else at, "expected a whole number of tokens: shares are shares of it"
    if budget is not None and not is_wanted:
        what = "`tokens`" if is_top else "the group around it"
        return [*at, "share"], f"expected {_SHARE}: {what} is shared out by it"
    return None


def _sum_fault(groups: list[Group], at: list[str | int], tokens: int | None) -> _Fault | None:
    """What is wrong with the sum of what groups ask for."""
    exact = sum(group.share or 0.0 for group in groups)
    counted = [group.tokens for group in groups if group.tokens is not None]
    if counted and tokens is None:
        return None
    exact += sum(counted) / (tokens or 1)
    loose = [group for group in groups if group.share is None and group.tokens is None]
    if exact > 1 + 1e-6 or (not loose and exact < 1 - 1e-6):
        if counted:
            return at, f"expected shares and tokens that add up to {tokens:,} tokens, got {exact * (tokens or 0):,.0f}"
        return at, f"expected shares that add up to 1, got {exact:g}"
    if loose and all(group.max_share is not None for group in loose):
        most = exact + sum(group.max_share or 0.0 for group in loose)
        if most < 1 - 1e-6:
            return at, f"expected shares and maxima that add up to 1 or more, got {most:g}"
    return None


def places_of(groups: list[Group], at: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Group]]:
    """Every group with its place in the recipe, those around others first."""
    for index, group in enumerate(groups):
        yield (*at, index), group
        yield from places_of(group.group, (*at, index, "group"))


class Release(_Table):
    """Where the release goes and what its shards hold."""

    to: Text = _field("a path or s3://…", "releases")
    version: Annotated[str, BeforeValidator(_version)] | None = _field(
        "a version like 2026.11.23 or 2026.11.23.2", None
    )
    shard_bytes: Annotated[int, BeforeValidator(_bytes), Field(le=10**9)] = _field(
        'a size like "256MB", at most "1GB"', 256_000_000
    )
    columns: list[Text] = _field("a list of columns", default_factory=list)
    tokenised: Switch = _field("true or false", default=False)
    end_of_document: Annotated[Text, Field(min_length=1)] | None = _field("a token of the tokenizer", None)
    s3: S3Options = _field(_S3, default_factory=dict)


class Price(_Table):
    """What an endpoint asks for a million tokens."""

    input: Annotated[Number, Field(ge=0, le=10**6)] = _field("a price of a million tokens of prompt")
    output: Annotated[Number, Field(ge=0, le=10**6)] = _field("a price of a million tokens of answer")


_SECONDS = "seconds, above 0"
_ADDRESS = 'an address like "http://localhost:8000/v1"'
_VARIABLE = 'the name of an environment variable, like "$OPENAI_API_KEY"'
#: What a request holds that is not the recipe's to say; some of these would change how answers come, or how many.
_OWN_PARAMETERS = (
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of", "tools",
    "key", "api_key", "apikey", "authorization",
)  # fmt: skip


def _said(fault: str) -> PydanticCustomError:
    """A fault in these words, without the value: it may hold a secret."""
    return PydanticCustomError("place", "{message}", {"message": fault})


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if is_whole and (parts.username or parts.password or parts.query or parts.fragment):
        raise _said("expected an address without a user, a password or a query; `key` names where the key is")
    if not is_whole:
        raise _said('expected an address like "http://localhost:8000/v1"')
    return url


def _variable(key: str) -> str:
    if not re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", key):
        raise _said('expected the name of an environment variable, like "$OPENAI_API_KEY"; a key belongs in no file')
    return key


def _on_this_machine(path: str) -> str:
    if "://" in path:
        raise _said("expected a folder of this machine: files in S3 cannot grow")
    return path


def _parameters(table: dict[str, Any]) -> dict[str, Any]:
    for name, value in table.items():
        if name.lower() in _OWN_PARAMETERS:
            raise _said(f'"{name}" is not for the recipe to say')
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise _said(f'"{name}": expected what JSON can hold') from None
    return table


class Server(_Table):
    """One of several servers of an endpoint."""

    url: Annotated[Text, AfterValidator(_url)] = _field(_ADDRESS)
    weight: Annotated[Number, Field(gt=0, le=1000)] = _field("a number above 0, at most 1000", 1.0)
    model: Annotated[Text, Field(min_length=1)] | None = _field("the name of a model", None)
    key: Annotated[Text, AfterValidator(_variable)] | None = _field(_VARIABLE, None)


class Endpoint(_Table):
    """A language model behind OpenAI-compatible servers, and what may be spent there."""

    url: Annotated[Text, AfterValidator(_url)] | None = _field(_ADDRESS, None)
    server: list[Server] = _field("tables [[endpoint.NAME.server]]", default_factory=list)
    model: Annotated[Text, Field(min_length=1)] = _field("the name of a model")
    key: Annotated[Text, AfterValidator(_variable)] | None = _field(_VARIABLE, None)
    price: Price | None = _field("a table of prices of a million tokens, like { input = 0.1, output = 0.4 }", None)
    budget: Annotated[Number, Field(ge=0, le=10**6)] | None = _field("an amount of money", None)
    budget_requests: Annotated[Whole, Field(ge=0, lt=10**12)] | None = _field("a whole number of requests", None)
    budgets: dict[Text, Annotated[Number, Field(ge=0, le=10**6)]] = _field(
        "a table of amounts of money by kind, like { story = 5.0, exercise = 10.0 }", default_factory=dict
    )
    budget_tokens: Annotated[Whole, Field(ge=0, lt=10**15)] | None = _field("a whole number of tokens", None)
    ledger: Annotated[Text, AfterValidator(_on_this_machine)] | None = _field(
        "a path of a folder on this machine", None
    )
    concurrency: Annotated[Whole, Field(ge=1, le=1024)] = _field("a whole number from 1 to 1024", 16)
    attempts: Annotated[Whole, Field(ge=1, le=100)] = _field("a whole number from 1 to 100", 8)
    connect_seconds: Annotated[Number, Field(gt=0, le=86_400)] = _field(_SECONDS, 10.0)
    read_seconds: Annotated[Number, Field(gt=0, le=86_400)] = _field(_SECONDS, 60.0)
    total_seconds: Annotated[Number, Field(gt=0, le=86_400)] = _field(_SECONDS, 300.0)
    stream: Switch = _field("true or false", default=True)
    tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = _field(
        "max_tokens or max_completion_tokens", "max_tokens"
    )
    parameters: Annotated[dict[str, Any], AfterValidator(_parameters)] = _field(
        "a table", default_factory=lambda: {"temperature": 0}
    )

    @model_validator(mode="after")
    def _is_counted(self) -> Self:
        is_paid = self.price is not None and self.price.input + self.price.output > 0
        limits = (self.budget, self.budget_requests, self.budget_tokens)
        problem = None
        if (self.url is None) == (not self.server):
            problem = (
                "url",
                (f"missing: expected {_ADDRESS}" if self.url is None else "either `url` or tables `server`, not both"),
            )
        elif (self.budget is not None or self.budgets) and self.price is None:
            problem = "price", "missing: expected prices, which `budget` is counted by"
        elif is_paid and all(limit is None for limit in limits):
            problem = "budget", "missing: what costs money needs a budget, budget_requests or budget_tokens"
        if problem:
            raise PydanticCustomError("place", "{message}", {"at": [problem[0]], "message": problem[1]})
        return self


class Recipe(_Table):
    """Everything that decides the bytes of a release."""

    name: Name = _field(_NAME)
    work: Text | None = _field("a path or s3://…", None)
    s3: S3Options = _field(_S3, default_factory=dict)
    single_writer: Switch = _field("true or false", default=False)
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = _field("a whole number from 0 up", 0)
    source: Annotated[list[Source], Field(min_length=1)] = _field("at least one table [[source]]")
    extract: Extract = _field("a table", default_factory=Extract)
    signals: dict[Name, dict[str, Any]] = _field("tables [signals.NAME]", default_factory=dict)
    dedup: Dedup = _field("a table", default_factory=Dedup)
    rules: Rules = _field("a table", default_factory=Rules)
    edit: Edit = _field("a table", default_factory=Edit)
    blend: Blend = _field("a table", default_factory=Blend)
    release: Release = _field("a table", default_factory=Release)
    endpoint: dict[Name, Endpoint] = _field("tables [endpoint.NAME]", default_factory=dict)

    #: The file it was read from; paths in it are relative to its folder.
    path: Path = Field(Path("recipe.toml"), exclude=True)

    @model_validator(mode="after")
    def _sources_differ(self) -> Self:
        names = [source.name for source in self.source]
        for index, name in enumerate(names):
            if name in names[:index]:
                message = f'two sources are called "{name}"'
                raise PydanticCustomError("place", "{message}", {"at": ["source", index, "name"], "message": message})
        return self

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.dedup.bands * self.dedup.rows > 1024:
            message = f"expected bands x rows up to 1024, got {self.dedup.bands * self.dedup.rows}"
            raise PydanticCustomError("place", "{message}", {"at": ["dedup"], "message": message})
        if "signature" in self.signals:
            message = "the name is taken: its settings are those of [dedup]"
            raise PydanticCustomError("place", "{message}", {"at": ["signals", "signature"], "message": message})
        return self

    @model_validator(mode="after")
    def _domains_are_measured(self) -> Self:
        for place, group in places_of(self.blend.group, ("blend", "group")):
            if group.max_per_domain is not None and self.signals.get("url", {}).get("enabled") is False:
                message = "it counts by `registered_domain` of the signal url, which is switched off"
                at = [*place, "max_per_domain"]
                raise PydanticCustomError("place", "{message}", {"at": at, "message": message})
        return self

    @model_validator(mode="after")
    def _has_tokens(self) -> Self:
        problem = None
        if self.release.tokenised and tokenizing.is_estimate(self.blend.tokenizer):
            problem = "tokenised", "there are no tokens to write: blend.tokenizer is an estimate, not a tokenizer.json"
        elif self.release.end_of_document is not None and not self.release.tokenised:
            problem = "end_of_document", "it stands in tokenised releases only: tokenised = true"
        if problem:
            raise PydanticCustomError("place", "{message}", {"at": ["release", problem[0]], "message": problem[1]})
        return self

    @property
    def tokenizer_identity(self) -> str:
        """The estimate, or the hash of the tokenizer.json; `RecipeError` where that is not there."""
        return tokenizing.identity(self.blend.tokenizer, self.base)

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent

    @property
    def extraction(self) -> Extract:
        """`extract`, with the path of a model of one's own as it is from anywhere."""
        own = self.extract.model
        placed = own if own == "default" else str(self.base / Path(own).expanduser())
        return self.extract.model_copy(update={"model": placed})

    def service(self, name: str) -> Service:
        """The endpoint of this name, as `curation.endpoint` asks it; `RecipeError` where there is none."""
        table = self.endpoint.get(name)
        if table is None:
            raise RecipeError(faults_text(self.path, [f"endpoint: {unknown(name, self.endpoint, 'endpoint')}"]) if
                              self.endpoint else f"{self.path}: there is no table [endpoint.{name}]",
                              remedy=f'add it: [endpoint.{name}] with url = "…" and model = "…"')  # fmt: skip
        settings = table.model_dump(exclude={"url", "server", "key", "ledger", "price"})
        price = table.price or Price(input=0, output=0)
        servers = tuple(
            EndpointServer(
                server.url, server.weight, server.model, (server.key or table.key or "").removeprefix("$") or None
            )
            for server in table.server or [Server(url=table.url or "")]
        )
        return Service(name=name, servers=servers, input_price=price.input, output_price=price.output, **settings)

    def ledger(self, name: str) -> Path:
        """The folder of an endpoint's ledger: what its table says, or `ledger/NAME` beside the recipe."""
        return self.base / Path(self.endpoint[name].ledger or f"ledger/{name}").expanduser()

    @property
    def shown(self) -> str:
        """The file as an argument of a command to paste: from the current folder where it lies in that."""
        here = Path.cwd()
        return shlex.quote(str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path))

    def semantic(self) -> dict[str, Any]:
        """What decides the bytes, as plain values: without the places where files lie."""
        table = self.model_dump(mode="json")
        table["blend"]["tokenizer"] = self.tokenizer_identity
        for key in ("work", "s3", "single_writer", "endpoint"):
            del table[key]
        del table["release"]["to"], table["release"]["s3"], table["dedup"]["against"]
        for source in table["source"]:
            del source["paths"], source["root"]
        return table


def load(path: str | Path, overrides: tuple[str, ...] = (), *, work: str | None = None) -> Recipe:
    """The recipe in a TOML file, with `key=value` overrides applied.

    Raises `RecipeError` with every fault and its place.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(
            f"{path}: there is no such recipe", remedy="make one and a sample to try it on: curate init my-textbook"
        ) from error
    except IsADirectoryError as error:
        raise RecipeError(f"{path} is a folder", remedy=f"name the recipe in it: {path}/recipe.toml") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}", remedy="check its permissions") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text at byte {error.start}", remedy="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}", remedy="correct that line") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: not TOML that can be read: nested too deep", remedy="write it flat") from error
    for override in overrides:
        _apply(table, override)
    if work is not None:
        table["work"] = str(Path(work).absolute()) if "://" not in work else work
    recipe = parse(table, path)
    faults = [
        f"source[{index}].endpoint: {unknown(source.endpoint, recipe.endpoint, 'endpoint')}"
        for index, source in enumerate(recipe.source)
        if source.endpoint is not None and source.endpoint not in recipe.endpoint
    ]
    if faults:
        raise RecipeError(faults_text(path, faults), remedy='add it: [endpoint.NAME] with url = "…" and model = "…"')
    return recipe


def parse(table: dict[str, Any], path: Path) -> Recipe:
    """The recipe that a table from TOML holds; `RecipeError` with every fault if it is not one."""
    faults = [f"recipe: {unknown('path', _known([]), 'key')}"] if "path" in table else []
    try:
        recipe = Recipe.model_validate({**table, "path": path.absolute()})
    except ValidationError as error:
        faults += dict.fromkeys(_fault(fault, table) for fault in error.errors(include_url=False))
    if faults:
        raise RecipeError(faults_text(path, faults))
    return recipe


def faults_text(path: Path, faults: list[str]) -> str:
    """The message that lists the faults of a recipe."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return f"{path}: {count}\n" + "\n".join(f"  {fault}" for fault in faults)


def _fault(fault: Any, table: dict[str, Any]) -> str:
    place = [*fault["loc"], *fault.get("ctx", {}).get("at", ())] if fault["type"] == "place" else list(fault["loc"])
    place = [step for step in place if step not in ("own", "[key]")]
    where = place_of(place)
    if fault["type"] == "place":
        return f"{where}: {fault['msg']}"
    if fault["type"] == "extra_forbidden":
        place = [step for step in fault["loc"][:-1] if step not in ("own", "[key]")]
        return f"{place_of(place) or 'recipe'}: {unknown(str(fault['loc'][-1]), _known(place), 'key')}"
    expected = _expected(place)
    if fault["type"] == "missing":
        return f"{where}: missing: expected {expected}"
    if "[key]" in fault["loc"]:
        return f'{where}: expected {_NAME}, got "{place[-1]}"'
    return f"{where}: expected {expected}, got {_shown(_value(table, place))}"


def place_of(place: list[Any]) -> str:
    """A path in the recipe, as in `blend.group[1].share`.

    >>> place_of(["blend", "group", 1, "share"])
    'blend.group[1].share'
    """
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def unknown(key: str, known: Any, what: str) -> str:
    """The fault of a name that is not known, with the nearest that is."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(sorted(known))}"
    return f'unknown {what} "{key}"; {hint}'


def _model_at(place: list[Any]) -> type[BaseModel]:
    model: type[BaseModel] = Recipe
    tables: dict[str, type[BaseModel]] = {
        "source": Source, "extract": Extract, "dedup": Dedup, "rules": Rules, "edit": Edit, "blend": Blend,
        "group": Group, "limit": Limit, "release": Release, "price": Price, "server": Server,
    }  # fmt: skip
    if place[:1] == ["endpoint"]:  # and then a name, which may be that of another table
        model, place = (Endpoint, place[2:]) if len(place) > 1 else (model, [])
    for step in place:
        model = tables.get(step, model)
    return model


def _known(place: list[Any]) -> list[str]:
    return [name for name in _model_at(place).model_fields if name != "path"]


def _expected(place: list[Any]) -> str:
    names = [step for step in place if isinstance(step, str)]
    if names[:1] == ["rules"] and names[-1] not in Rules.model_fields and len(names) > 1:
        return Rules.model_fields["own"].description or ""
    for depth in range(len(names) - 1, -1, -1):
        field = _model_at(names[:depth]).model_fields.get(names[depth])
        if field is not None and field.description:
            return field.description
    return "another value"


def _value(table: Any, place: list[Any]) -> Any:
    for step in place:
        try:
            table = table[step]
        except (KeyError, IndexError, TypeError):
            return table
    return table


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _apply(table: dict[str, Any], override: str) -> None:
    """Set one value by its path: `dedup.similarity=0.8`, `blend.group[1].share=0.3`, `source.web.license=CC-BY-4.0`."""
    path, equals, value = override.partition("=")
    steps = [step for step in re.split(r"[.\[\]]+", path.strip()) if step]
    if not equals or not steps:
        raise RecipeError(f"--set {override}: expected key=value", remedy="for example --set dedup.similarity=0.8")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    at: Any = table
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        key = _key(at, step, override)
        if following is None:
            at[key] = parsed
        elif isinstance(at, dict):
            at = at.setdefault(key, {})
        else:
            at = at[key]


def _key(at: Any, step: str, override: str) -> Any:
    if isinstance(at, dict):
        return step
    if isinstance(at, list):
        for index, item in enumerate(at):
            if str(index) == step or (isinstance(item, dict) and item.get("name") == step):
                return index
    raise RecipeError(f"--set {override}: there is no {step!r} to set", remedy="name a key of the recipe")
