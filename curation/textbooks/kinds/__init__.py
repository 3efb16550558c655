"""The kinds of text that can be written, one TOML file each; to add one is a file and a word in `KINDS`.

A kind says what the model is told (jinja2, in a sandbox: a template can format what it is given, and nothing else), how
long an answer may be, and what is checked of it. A kind that is `grounded` rewrites a document of one's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, model_validator

from curation.errors import UsageError
from curation.textbooks import tables
from curation.textbooks.tables import Table

if TYPE_CHECKING:
    from jinja2 import Template

KINDS = (
    "section",
    "exercise",
    "code_exercise",
    "story",
    "scene",
    "questions",
    "explain",
    "distil",
    "ask",
)

#: Why an answer may be refused, in the order in which it is looked at; the first that holds is the reason.
REASONS = (
    "unanswered", "refused", "cut_off", "echoed", "too_short", "too_long", "wrong_form", "broken_code",
    "wrong_exercise", "looped", "wrong_language", "missing_words", "missing_features", "contaminated",
    "forbidden_calls", "over_limits", "failed_tests", "idle_tests", "common_opening", "near_duplicate",
)  # fmt: skip
_NAME = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
_SHARE = Annotated[float, Field(ge=0, le=1)]
_COUNT = Annotated[int, Field(ge=0, le=100_000)]


class Feature(Table):
    """Something an answer may be asked for: in these words, and the regular expression that finds it, if one can."""

    ask: Annotated[str, Field(min_length=1)]
    pattern: str | None = None


class Checks(Table):
    """What an answer must keep to. Words are those of `Batch`; `least` of them, at most `most`.

    `language` with the least score of the classifier for it. `sections` are headings that must stand in it, in this
    order. `code` must parse, and there must be so many fenced blocks of it. `tested` says that the three sections are
    a function with a docstring that is left to be written, its solution, and tests that call it; where the recipe says
    `run_code`, these are run. `repeated` is the largest share of characters in 5-grams of words that occurred before.
    `echoed` is the largest share of 8-grams of words that stand in what was sent. `opening_words` is how many words an
    opening has, `opening_share` how large a share of what was accepted of this kind may open alike (three may in any
    case). `similarity` is the share of common 5-grams with something accepted before at which it is refused. `rewrite`
    lists the reasons for which the model may correct its answer, once.
    """

    least: _COUNT
    most: Annotated[int, Field(ge=1, le=100_000)]
    language: str | None = "en"
    language_score: _SHARE = 0.6
    words: bool = False
    sections: list[str] = Field(default_factory=list)
    code: Literal["python"] | None = None
    code_blocks: _COUNT = 0
    tested: bool = False
    repeated: _SHARE = 0.3
    echoed: _SHARE = 0.3
    opening_words: Annotated[int, Field(ge=1, le=20)] = 4
    opening_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.5
    rewrite: list[Literal[REASONS]] = Field(default_factory=list)  # type: ignore[valid-type]


class Kind(Table):
    """A kind of text. `tokens` is what an answer takes as a rule, `pick` how many features a request asks for."""

    name: _NAME
    version: Annotated[int, Field(ge=1)]
    system: Annotated[str, Field(min_length=1)]
    prompt: Annotated[str, Field(min_length=1)]
    tokens: Annotated[int, Field(ge=1, le=32_768)]
    max_tokens: Annotated[int, Field(ge=16, le=32_768)]
    grounded: bool = False
    words: dict[Literal["noun", "verb", "adjective"], Annotated[int, Field(ge=1, le=10)]] = Field(default_factory=dict)
    pick: _COUNT = 0
    feature: dict[_NAME, Feature] = Field(default_factory=dict)
    check: Checks

    @model_validator(mode="after")
    def _fits(self) -> Kind:
        if self.pick > len(self.feature):
            raise ValueError(f"pick is {self.pick}, and there are {len(self.feature)} features")
        if self.check.words and not self.words:
            raise ValueError("check.words asks for words, and there are none in `words`")
        if self.check.tested and (self.check.code is None or len(self.check.sections) != 3):
            raise ValueError('check.tested needs code = "python", and three sections: exercise, solution and tests')
        if self.check.least >= self.check.most:
            raise ValueError(f"check.least is {self.check.least}, and check.most {self.check.most}")
        if self.tokens > self.max_tokens:
            raise ValueError(f"tokens is {self.tokens}, and max_tokens {self.max_tokens}")
        for name, feature in self.feature.items():
            try:
                re.compile(feature.pattern or "")
            except re.error as error:
                raise ValueError(f"feature.{name}.pattern: {error}") from error
        return self

    @cached_property
    def label(self) -> str:
        """Its name and version, and the hash of all that decides what is asked and taken.

        Who changes a kind and forgets its version is told by the hash.
        """
        return f"{self.name}@{self.version}-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"

    def checks(self, features: tuple[str, ...]) -> str:
        """What is checked of an answer that was asked for these features, as JSON."""
        patterns = {name: self.feature[name].pattern for name in features if self.feature[name].pattern}
        return json.dumps(self.check.model_dump() | {"patterns": patterns}, sort_keys=True)

    def messages(self, given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """What is sent, filled in with what is `given`; `UsageError` for a template that asks for more than that."""
        return (("system", self._filled("system", given)), ("user", self._filled("prompt", given)))

    def _filled(self, key: str, given: dict[str, Any]) -> str:
        template = getattr(self, key)
        try:
            text = _compiled(template).render(given)
        except (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
            message = f"kind {self.name}: {key}: {type(error).__name__}: {error}"
            raise UsageError(message, remedy="correct the template") from error
        return re.sub(r"\n{3,}", "\n\n", text).strip()


_SANDBOX = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False, autoescape=False
)
_SANDBOX.globals.clear()  # range, lipsum, cycler: nothing a prompt needs, and range fills memory


@cache
def _compiled(template: str) -> Template:
    return _SANDBOX.from_string(template)


def load(name: str, base: Path | None = None) -> Kind:
    """The kind of this name; or in a file of one's own, whose name ends with .toml, relative to `base`.

    Raises `UsageError` where there is none, or with every fault of it.
    """
    if name.endswith(".toml"):
        return tables.read((base or Path()) / name, Kind, "kind of text")
    if name not in KINDS:
        raise UsageError(f'there is no kind of text "{name}"', remedy=f"kinds are {', '.join(KINDS)}, or a .toml file")
    return tables.read(Path(__file__).parent / f"{name}.toml", Kind, "kind of text")
