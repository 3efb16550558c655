"""Changes: what is other than in the last release, by its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curation import rules as ruling
from curation.errors import CurationError
from curation.releases import Release, latest
from curation.report import toml
from curation.run import release_fingerprint, release_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from curation.run import Run
    from curation.storage import Storage

#: Inputs that are named at most, of each kind of change.
_NAMED = 10

Manifest = dict[str, Any]


def last(run: Run) -> Manifest | None:
    """The manifest of the last release that is another than what this run makes; None where there is none."""
    return before(release_place(run.recipe), run.recipe.name, release_fingerprint(run))


def before(storage: Storage, name: str, made_from: str) -> Manifest | None:
    """The manifest of the last release that was made from something else than `made_from`; None where there is none.

    The latest release may be what this very run published before: then it is the one before that.
    """
    release = latest(storage, name)
    manifest = release.manifest() if release else None
    if manifest is not None and manifest["fingerprint"] == made_from:
        previous = manifest.get("previous")
        manifest = Release(storage, name, previous).manifest() if previous else None
    return manifest


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What is other in the new manifest: totals, sources, groups, rules, hits, settings and inputs.

    Every entry of `totals`, `sources`, `groups` and `hits` is a name and numbers before and now, None where it was or
    is not there; only what changed is listed.
    """
    rules = _rules(old["recipe"]), _rules(new["recipe"])
    return {
        "version": old["version"],
        "totals": [(name, old.get(name), new.get(name)) for name in ("documents", "rows", "tokens")],
        "sources": _moved(old["sources"], new["sources"], ("documents", "kept", "released_tokens")),
        "groups": _moved(old["groups"], new["groups"], ("documents", "tokens")),
        "rules": _differences(*rules),
        "hits": _numbers(_hits(old), _hits(new)),
        "settings": _differences(_settings(old["recipe"]), _settings(new["recipe"])),
        "inputs": _inputs(old["inputs"], new["inputs"]),
        "software": (old["software"], new["software"]) if old["software"] != new["software"] else None,
    }


def _moved(old: Iterable[Any], new: Iterable[Any], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    was, is_ = ({entry["name"]: entry for entry in entries} for entries in (old, new))
    rows = []
    for name in dict.fromkeys([*is_, *was]):
        numbers = {column: (was.get(name, {}).get(column), is_.get(name, {}).get(column)) for column in columns}
        if any(before != now for before, now in numbers.values()):
            rows.append({"name": name, "is_new": name not in was, "is_gone": name not in is_, **numbers})
    return rows


def _rules(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Every rule with its predicate; of a recipe that this version cannot read, those that it states itself."""
    try:
        return {rule.name: rule.predicate for rule in ruling.rules_of(toml.recipe_of(recipe))}
    except CurationError:
        own = recipe.get("rules", {}).get("own", {})
        return {name: predicate for name, predicate in own.items() if isinstance(predicate, str)}


def _hits(manifest: Mapping[str, Any]) -> dict[str, int]:
    hits: dict[str, int] = {}
    for source in manifest["sources"]:
        for name, count in source["rules"].items():
            hits[name] = hits.get(name, 0) + count
    return hits


def _numbers(old: Mapping[str, int], new: Mapping[str, int]) -> list[tuple[str, int, int]]:
    rows = [(name, old.get(name, 0), new.get(name, 0)) for name in sorted({*old, *new})]
    return sorted((row for row in rows if row[1] != row[2]), key=lambda row: (-abs(row[2] - row[1]), row[0]))


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """Name, before and now, None where it was or is not there; what changed first, what is new last.

    >>> _differences({"a": "1", "b": "2"}, {"c": "4", "b": "3"})
    [('b', '2', '3'), ('a', '1', None), ('c', None, '4')]
    """
    rows = [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])]
    changed = [row for row in rows if row[1] != row[2]]
    return sorted(changed, key=lambda row: (row[1] is None, row[2] is None))


def _settings(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Every setting by its place in the recipe, but rules; whole numbers as TOML separates them, `1_500_000`."""
    found: dict[str, str] = {}

    def walk(place: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(f"{place}.{key}" if place else key, item)
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for number, item in enumerate(value):
                walk(f"{place}[{item.get('name', number)}]", item)
        elif value is not None:
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            found[place] = f"{value:_}" if is_whole else toml.inline(value)

    walk("", {**recipe, "rules": {key: value for key, value in recipe["rules"].items() if key != "own"}})
    return found


def _inputs(old: Iterable[Any], new: Iterable[Any]) -> list[dict[str, Any]]:
    """Inputs that are new, changed or gone: how many, how many bytes they have or had, and the names of some."""
    was, is_ = ({(entry["source"], entry["uri"]): entry for entry in entries} for entries in (old, new))
    kinds = {
        "new": [is_[key] for key in sorted(is_.keys() - was.keys())],
        "changed": [is_[key] for key in sorted(is_.keys() & was.keys()) if is_[key]["sha256"] != was[key]["sha256"]],
        "gone": [was[key] for key in sorted(was.keys() - is_.keys())],
    }
    return [
        {
            "what": what,
            "files": len(entries),
            "bytes": sum(entry["bytes"] for entry in entries),
            "names": [f"{entry['source']}/{entry['uri']}" for entry in entries[:_NAMED]],
            "more": max(0, len(entries) - _NAMED),
        }
        for what, entries in kinds.items()
        if entries
    ]
