"""A curriculum: subjects, units and topics, for whom and in what forms they are to be written about.

It is a TOML file. A topic is a name, or a table with more: what it is about, what must be known before, by which terms
a text that treats it is found, which kinds and audiences it has, and how much of it is wanted.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from curation.errors import UsageError
from curation.textbooks import kinds, tables
from curation.textbooks.tables import Table

if TYPE_CHECKING:
    from curation.textbooks.kinds import Kind

#: Those that the project ships.
CURRICULA = ("python", "science", "minds", "stories")

_NAME = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
_LINE = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\n\r]+$")]
_WEIGHT = Annotated[float, Field(gt=0, le=1_000), BeforeValidator(lambda x: float(x) if type(x) is int else x)]


class Topic(Table):
    """What a document is about. `needs` are topics to know before; `terms` find texts that treat it (else its name)."""

    name: _LINE
    about: str = ""
    needs: list[str] = Field(default_factory=list)
    terms: list[_LINE] = Field(default_factory=list)
    kinds: list[str] = Field(default_factory=list)
    audiences: list[str] = Field(default_factory=list)
    weight: _WEIGHT = 1.0


def _topic(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class Unit(Table):
    """Topics that are taught together, in this order."""

    name: _LINE
    topics: Annotated[list[Annotated[Topic, BeforeValidator(_topic)]], Field(min_length=1)]


class Subject(Table):
    """Units of one subject; `kinds` are those of its topics where not all of the curriculum's are."""

    name: _LINE
    kinds: list[str] = Field(default_factory=list)
    unit: Annotated[list[Unit], Field(min_length=1)]


class Audience(Table):
    """Whom a text is for, in words of a prompt, and how much is wanted for them."""

    reader: _LINE
    weight: _WEIGHT = 1.0


class _File(Table):
    name: _NAME
    title: _LINE
    kinds: Annotated[dict[str, _WEIGHT], Field(min_length=1)]
    audience: Annotated[dict[_NAME, Audience], Field(min_length=1)]
    styles: Annotated[dict[_NAME, _LINE], Field(min_length=1)]
    subject: Annotated[list[Subject], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Cell:
    """A topic, an audience and a kind; `share` is how much of the curriculum is wanted of it, 1 being all."""

    subject: str
    unit: str
    topic: Topic
    audience: str
    kind: str
    share: float

    @property
    def name(self) -> str:
        """What tells it from others, as it stands in a plan.

        >>> Cell("Basics", "Names", Topic(name="variables"), "beginner", "section", 1.0).name
        'variables | beginner | section'
        """
        return f"{self.topic.name} | {self.audience} | {self.kind}"


@dataclass(frozen=True)
class Curriculum:
    """A curriculum that holds together, with its kinds by name."""

    path: Path
    name: str
    title: str
    kinds: dict[str, Kind]
    audiences: dict[str, Audience]
    styles: dict[str, str]
    subjects: list[Subject]
    cells: list[Cell]

    @property
    def topics(self) -> list[tuple[Subject, Unit, Topic]]:
        """Every topic in order, with its subject and unit."""
        return [(subject, unit, topic) for subject in self.subjects for unit in subject.unit for topic in unit.topics]


def load(name: str | Path) -> Curriculum:
    """The curriculum in a file, or the shipped one of this name; `UsageError` with every fault and its place."""
    path = Path(__file__).parent / "curricula" / f"{name}.toml" if str(name) in CURRICULA else Path(name)
    if not path.exists():
        raise UsageError(f"{path}: there is no such curriculum", remedy=f"name a file, or {', '.join(CURRICULA)}")
    file = tables.read(path, _File, "curriculum")
    faults: list[str] = []
    loaded = _kinds(file, path, faults)
    _look_at_topics(file, set(loaded), faults)
    if faults:
        raise tables.refused(path, faults, "curriculum")
    weights = {kind.name: file.kinds[key] for key, kind in loaded.items()}
    names = {key: kind.name for key, kind in loaded.items()}
    return Curriculum(
        path, file.name, file.title, {kind.name: kind for kind in loaded.values()}, file.audience, file.styles,
        file.subject, _cells(file, names, weights),
    )  # fmt: skip


def _kinds(file: _File, path: Path, faults: list[str]) -> dict[str, Kind]:
    loaded: dict[str, Kind] = {}
    for key in file.kinds:
        try:
            loaded[key] = kinds.load(key, path.parent)
        except UsageError as error:
            faults.append(f"kinds.{key}: {error.message}")
    names = [kind.name for kind in loaded.values()]
    faults += [f'kinds: two are called "{name}"' for name in sorted({name for name in names if names.count(name) > 1})]
    return loaded


def _look_at_topics(file: _File, known: set[str], faults: list[str]) -> None:
    seen: dict[str, str] = {}
    known |= {key for key in file.kinds if key not in known}  # its own fault is told already
    graph: dict[str, list[str]] = {}
    for at, subject in enumerate(file.subject):
        faults += [f'subject[{at}].kinds: "{kind}" is not in `kinds`' for kind in subject.kinds if kind not in known]
        for number, unit in enumerate(subject.unit):
            for index, topic in enumerate(unit.topics):
                where = f"subject[{at}].unit[{number}].topics[{index}]"
                if topic.name in seen:
                    faults.append(f'{where}: "{topic.name}" is at {seen[topic.name]} already')
                seen.setdefault(topic.name, where)
                graph[topic.name] = topic.needs
                faults += [f'{where}.kinds: "{kind}" is not in `kinds`' for kind in topic.kinds if kind not in known]
                faults += [f'{where}.audiences: there is no audience "{one}"' for one in topic.audiences
                           if one not in file.audience]  # fmt: skip
    for name, needs in graph.items():
        faults += [f'{seen[name]}.needs: there is no topic "{needed}"' for needed in needs if needed not in seen]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        faults.append(f"{seen.get(error.args[1][0], 'topics')}.needs: goes round in a circle: "
                      + " needs ".join(reversed(error.args[1])))  # fmt: skip


def _cells(file: _File, names: dict[str, str], weights: dict[str, float]) -> list[Cell]:
    found = []
    for subject in file.subject:
        for unit in subject.unit:
            for topic in unit.topics:
                chosen = topic.kinds or subject.kinds or list(file.kinds)
                for audience in topic.audiences or list(file.audience):
                    for kind in (names[key] for key in chosen):
                        wanted = topic.weight * file.audience[audience].weight * weights[kind]
                        found.append(Cell(subject.name, unit.name, topic, audience, kind, wanted))
    total = sum(cell.share for cell in found)
    return [Cell(one.subject, one.unit, one.topic, one.audience, one.kind, one.share / total) for one in found]


def terms(topic: Topic) -> str:
    r"""The regular expression, without case, that finds texts which treat a topic.

    >>> terms(Topic(name="while loops", terms=["while loop", "while"]))
    '\\b(?:while loop|while)(?:s|es)?\\b'
    """
    listed = "|".join(re.escape(term.lower()).replace("\\ ", " ") for term in topic.terms or [topic.name])
    return rf"\b(?:{listed})(?:s|es)?\b"


def lot(*parts: object) -> int:
    """A number of 64 bits that stands for these parts, the same everywhere."""
    data = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
