"""What must be so before a run: this machine, the libraries, and the places and inputs of a recipe, a check each."""

from __future__ import annotations

import http.client
import json
import os
import platform
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from curation import against
from curation import rules as ruling
from curation.errors import CurationError
from curation.pull import inputs_of
from curation.recipe import load
from curation.run import MARKER, refuse_overlap, release_place, work_place, workspace
from curation.signals import SIGNALS, bare, signal_name
from curation.signals.batch import Batch
from curation.storage.file import TRIED
from curation.textbooks import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from curation.recipe import Recipe
    from curation.signals import Signal
    from curation.storage import Storage

#: What a worker may hold (promise 10 of the design).
WORKER_BYTES = 2 * 2**30
#: Distributions whose versions decide what comes out or whether it runs.
LIBRARIES = (
    "click", "datasketch", "duckdb", "fasttext-community", "numpy", "pebble", "py3langid", "pyarrow", "pydantic",
    "resiliparse",
)  # fmt: skip
#: Extras: distribution, the extra that brings it, what it is for.
EXTRAS = (
    ("trafilatura", "trafilatura", "another engine to find the main text in HTML"),
    ("stamina", "llm", "labels by a language model"),
    ("prefect", "prefect", "schedules and a record of runs"),
    ("ray", "ray", "runs on several machines"),
    ("boto3", "s3", "inputs, WORK and releases in S3"),
)
#: Other distributions that are imported as `fasttext`: installed together they overwrite each other.
_OTHER_FASTTEXT = ("fasttext", "fasttext-wheel", "fasttext-numpy2", "fasttext-numpy2-wheel", "fasttext-predict")
#: Days after which the public suffix list is called old.
_OLD_LIST = 400
#: Free bytes below which a disk is called full, and how many times the inputs' size a run needs at most.
_LITTLE_SPACE = 2**30
_TIMES_INPUTS = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and the remedy unless it is ok."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    remedy: str | None = None


def examine(path: Path | None, overrides: tuple[str, ...] = (), work: str | None = None) -> Iterator[Check]:
    """The checks of this machine and, with a recipe, of all that it names; none of them raises."""
    yield _python()
    yield from _libraries()
    yield from _known_bad()
    yield _machine()
    yield _models("models", {signal_name(module): bare(module) for module in SIGNALS})
    yield _suffixes()
    yield from _prefect()
    if path is not None:
        yield from _recipe(path, overrides, work)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return Check("python", "fail", found, "use Python 3.11, 3.12 or 3.13")
    if platform.system() != "Linux":
        return Check("python", "warn", found, "curate is tried on Linux alone")
    return Check("python", "ok", found)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _libraries() -> Iterator[Check]:
    found = {name: _version(name) for name in LIBRARIES}
    missing = [name for name, number in found.items() if number is None]
    said = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if missing:
        yield Check("libraries", "fail", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield Check("libraries", "ok", said)
    for name, extra, purpose in EXTRAS:
        number = _version(name)
        yield Check(name, "ok", number or f"not installed; for {purpose}: pip install 'curate[{extra}]'")


def _known_bad() -> Iterator[Check]:
    """Versions that are known not to go together."""
    prefect, fastapi, s3fs = _version("prefect"), _version("fastapi"), _version("s3fs")
    sqlalchemy = _version("sqlalchemy")
    if prefect and fastapi and _numbers(prefect) < (3, 9) and _numbers(fastapi) >= (0, 151):
        yield Check(
            "prefect", "fail", f"prefect {prefect} does not start with fastapi {fastapi}", "pip install 'fastapi<0.151'"
        )
    if prefect and sqlalchemy and _numbers(prefect) < (3, 9) and _numbers(sqlalchemy) >= (2, 1):
        yield Check(
            "sqlalchemy", "warn", f"with {sqlalchemy} a server of prefect {prefect} starts no run of a schedule",
            "pip install 'sqlalchemy<2.1'",
        )  # fmt: skip
    if s3fs and _numbers(s3fs) < (2021,):
        yield Check(
            "s3fs", "warn", f"{s3fs} is of 2020: what pip falls back to beside a new boto3",
            "curate does not need it: pip uninstall s3fs",
        )  # fmt: skip
    others = [name for name in _OTHER_FASTTEXT if _version(name)]
    if others:
        yield Check(
            "fasttext", "fail", f"{', '.join(others)} beside fasttext-community: they overwrite each other",
            f"pip uninstall {' '.join(others)}; pip install --force-reinstall fasttext-community",
        )  # fmt: skip


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers of a version.

    >>> _numbers("0.150.0rc1")
    (0, 150, 0)
    """
    return tuple(int(piece) for piece in re.findall(r"(?:^|\.)(\d+)", text))


def _machine() -> Check:
    cores, memory = cores_and_memory()
    found = f"{cores} cores, {memory / 2**30:.1f} GiB of memory free for this process"
    workers = max(1, int(memory // WORKER_BYTES))
    if workers < cores:
        return Check(
            "machine", "warn", f"{found}: a worker may need 2 GiB, and there is one for each core",
            f"curate run … --workers {workers}",
        )  # fmt: skip
    return Check("machine", "ok", found)


def cores_and_memory() -> tuple[int, int]:
    """The cores this process may use and the bytes of memory it may still take, cgroup limits included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    available = _meminfo("MemAvailable")
    quota = (_first_line("/sys/fs/cgroup/cpu.max") or "max").split()
    if len(quota) == 2 and quota[0] != "max":
        cores = max(1, min(cores, int(quota[0]) // int(quota[1])))
    limit, used = (_first_line(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit != "max":
        available = min(available, max(0, int(limit) - int(used)))
    return cores, available


def _meminfo(key: str) -> int:
    for line in _lines("/proc/meminfo"):
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return sys.maxsize


def _first_line(path: str) -> str | None:
    return next(iter(_lines(path)), None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _models(check: str, signals: Mapping[str, Signal]) -> Check:
    began = time.perf_counter()
    batch = Batch(pa.array(["The tide rises twice a day."]), pa.array(["https://example.org/tides"]))
    for name, signal in signals.items():
        try:
            signal.measure(batch)
        except Exception as error:  # noqa: BLE001  # whatever a library raises is the finding
            return Check(
                check, "fail", f"the signal {name} cannot measure: {type(error).__name__}: {error}",
                f"look at [signals.{name}] and what it needs",
            )  # fmt: skip
    return Check(check, "ok", f"{len(signals)} signals measure, after {time.perf_counter() - began:.1f} s of loading")


def _suffixes() -> Check:
    number = _version("publicsuffixlist") or ""
    found = re.search(r"(20\d\d)(\d\d)(\d\d)", number)
    if not found:
        return Check("public suffixes", "warn", f"publicsuffixlist {number}: of no known date",
                     "pip install --upgrade publicsuffixlist")  # fmt: skip
    made = date(*map(int, found.groups()))
    old = (datetime.now(UTC).date() - made).days
    if old > _OLD_LIST:
        return Check("public suffixes", "warn", f"of {made}, {old} days old: new domains may be taken for others",
                     "pip install --upgrade publicsuffixlist")  # fmt: skip
    return Check("public suffixes", "ok", f"of {made}")


def _prefect() -> Iterator[Check]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return
    if not url.startswith(("http://", "https://")):
        yield Check("PREFECT_API_URL", "fail", f"{url}: no http address", "unset it, or name a server")
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5):  # noqa: S310  # its scheme was looked at
            yield Check("PREFECT_API_URL", "ok", f"{url} answers")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        yield Check(
            "PREFECT_API_URL", "fail", f"{url} does not answer: {reason}",
            "start it: prefect server start; or unset PREFECT_API_URL, and runs are recorded nowhere",
        )  # fmt: skip


def _recipe(path: Path, overrides: tuple[str, ...], work: str | None) -> Iterator[Check]:
    try:
        recipe = load(path, overrides, work=work)
        space, signals = workspace(recipe)
        rules = ruling.check(recipe, space)
        refuse_overlap(recipe)
    except CurationError as error:
        yield Check("recipe", "fail", error.message, error.remedy or "correct the recipe")
        return
    yield Check(
        "recipe", "ok", f"{recipe.name}: sources {len(recipe.source)}, signals {len(signals)}, rules {len(rules)}"
    )
    yield _models("signals", signals)
    if recipe.extract.engine == "trafilatura" and not _version("trafilatura"):
        yield Check("extract", "fail", "the recipe asks for trafilatura, which is not installed",
                    "pip install 'curate[trafilatura]'")  # fmt: skip
    total = 0
    for source in recipe.source:
        try:
            inputs = inputs_of(recipe, source)
        except CurationError as error:
            yield Check(f"source {source.name}", "fail", error.message, error.remedy)
            continue
        size = sum(file.size for file in inputs)
        total += size
        yield Check(
            f"source {source.name}", "ok", f"{len(inputs):,} {'file' if len(inputs) == 1 else 'files'}, {size:,} bytes"
        )
    yield from _against(recipe)
    yield from _endpoints(recipe)
    if any(source.run_code for source in recipe.source):
        why = sandbox.fault()
        found = why or "code runs in a process that can only compute"
        yield Check("sandbox", "fail" if why else "ok", found, "run_code = false, or another machine" if why else None)
    for name, place in (("WORK", work_place), ("TO", release_place)):
        yield from _place(name, recipe, place, total)


def _against(recipe: Recipe) -> Iterator[Check]:
    """Whether what the recipe's documents are to be compared with is there."""
    try:
        against.check(recipe)
        entries = against.find(recipe)
    except CurationError as error:
        yield Check("against", "fail", error.message, error.remedy or "correct [dedup]")
        return
    for entry in entries:
        size = sum(shard.file.size for shard in entry.shards)
        files = "1 file" if len(entry.shards) == 1 else f"{len(entry.shards):,} files"
        release = f"release {entry.release}, " if entry.release else ""
        yield Check(f"against {entry.written}", "ok", f"{release}{files}, {size:,} bytes")


def _endpoints(recipe: Recipe) -> Iterator[Check]:
    """Whether endpoints could be asked: nothing is sent, and no run needs them."""
    for name, table in recipe.endpoint.items():
        servers = recipe.service(name).servers
        unset = [server.variable for server in servers if server.variable and not os.environ.get(server.variable)]
        missing = [library for library in ("aiohttp", "stamina") if not _version(library)]
        if missing:
            yield Check(f"endpoint {name}", "warn", f"missing: {', '.join(missing)}", "pip install 'curate[llm]'")
        elif unset:
            yield Check(f"endpoint {name}", "warn", f"the variable {unset[0]} is not set", f"export {unset[0]}=…")
        else:
            at = ", ".join(f"{server.url}, key {server.variable or 'not named'}" for server in servers)
            yield Check(f"endpoint {name}", "ok", f"{table.model} at {at}")


def _place(name: str, recipe: Recipe, find: Callable[[Recipe], Storage], inputs: int) -> Iterator[Check]:
    """Whether files can be written there, claimed, and read back; whose it is; how much room there is."""
    try:
        storage = find(recipe)
        marker = storage.read(MARKER) if name == "WORK" else None
        if name == "WORK" and marker is None and storage.is_used():
            yield Check(name, "fail", f"{storage}: holds files and is no workspace of curate's",
                        "name a new or empty folder: `work` in the recipe, or --work")  # fmt: skip
            return
        owner = _owner(marker)
        if owner not in (None, recipe.name):
            yield Check(name, "fail", f"{storage}: this workspace belongs to the recipe {owner}",
                        "give this recipe a folder of its own: `work` in the recipe, or --work")  # fmt: skip
            return
        _try_out(storage)
    except CurationError as error:
        yield Check(name, "fail", error.message, error.remedy or "see that the place is there and may be written")
        return
    if "://" in storage.root:
        yield Check(name, "ok", f"{storage}: written, claimed and read back")
        return
    free = shutil.disk_usage(_existing(Path(storage.root))).free
    found = f"{storage}: writable, {free / 1e9:,.1f} GB free"
    needed = max(_LITTLE_SPACE, _TIMES_INPUTS * inputs)
    if free < needed:
        yield Check(name, "warn", found, f"free some space: a run may need {needed / 1e9:,.1f} GB, see curate plan")
    else:
        yield Check(name, "ok", found)


def _owner(marker: bytes | None) -> str | None:
    try:
        table = json.loads(marker or b"null")
    except ValueError:
        return None
    return table.get("recipe") if isinstance(table, dict) else None


def _try_out(storage: Storage) -> None:
    """Write, claim, read back and remove a file, and leave nothing behind, not even a folder."""
    name = f"{TRIED}-{uuid.uuid4().hex}"
    new = _new_folders(storage)
    try:
        if not storage.create(name, b"first") or storage.create(name, b"second") or storage.read(name) != b"first":
            message = f"{storage}: what is claimed there is not safe from being claimed again"
            raise CurationError(message, remedy="use another file system: hard links do not work here")
        storage.write(name, b"third")
        storage.refuse_races()
    finally:
        storage.remove(name)
        for folder in new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _new_folders(storage: Storage) -> list[Path]:
    """The folders of the place that are not there yet, the innermost first."""
    if "://" in storage.root:
        return []
    root = Path(storage.root)
    return [folder for folder in (root, *root.parents) if not folder.exists()]


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
