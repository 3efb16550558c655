"""Who imports whom: one way only, as DESIGN.md says."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("curation", "classifiers", "flows")

#: From the bottom up. A module imports from its own layer or from those below it, never from those above; inside a
#: layer no two modules import each other. Longer names win: `curation.report` is above, `curation.errors` below.
LAYERS = (
    {  # know nothing of documents
        "curation", "curation.errors", "curation.storage", "curation.inputs", "curation.kernels", "curation.schema",
        "curation.progress", "curation.sample", "curation.usage", "curation.workers",
        "curation.heap",
    },
    {
        "curation.dataset", "curation.endpoint", "curation.engine", "curation.engines", "curation.ray_engine",
        "curation.expressions", "classifiers",
    },
    {  # recipe.py names the kinds of sources and of rules, and these ask it how faults are worded
        "curation.sources", "curation.signals", "curation.dedup", "curation.rules", "curation.textbooks",
        "curation.recipe", "curation.releases", "curation.tokenizing", "curation.tokenised", "curation.tombstones",
    },
    {  # what the stages share
        "curation.run", "curation.compiling", "curation.documents", "curation.groups", "curation.mixing",
        "curation.scaling",
    },
    {
        "curation.pull", "curation.measure", "curation.against", "curation.corpus", "curation.decontamination",
        "curation.compare", "curation.copies", "curation.stable",
        "curation.judge", "curation.blend", "curation.report",
        "curation.publish", "curation.token_counts", "curation.derived",
    },
    {  # the others ask the stages where things lie
        "curation.pipeline", "curation.explain", "curation.hits", "curation.query", "curation.whatif",
        "curation.selection", "curation.coverage", "curation.outline",
        "curation.doctor", "curation.tokenizer_training", "curation.plan", "curation.clusters", "curation.difference",
        "curation.release_diff", "curation.forget",
    },
    {"curation.cli", "curation.__main__", "flows"},  # the cli imports flows where it is asked to
)  # fmt: skip

#: What these may import of the project, whatever layer it is in; None: nothing at all.
NARROW = {
    "curation.errors": set(),
    "curation.heap": set(),
    "curation.schema": set(),
    "curation.kernels": {"curation.kernels"},
    "curation.progress": set(),
    "curation.usage": {"curation.storage"},
    "curation.storage": {"curation.storage", "curation.errors"},
    "curation.inputs": {"curation.storage", "curation.errors"},
    "classifiers": {
        "classifiers", "curation.dataset", "curation.endpoint", "curation.kernels", "curation.schema",
        "curation.errors",
    },
}  # fmt: skip

#: Who alone may import a package: one module, or two.
ONLY = {
    "prefect": "flows",
    "boto3": "curation.storage",
    "botocore": "curation.storage",
    "ray": "curation.ray_engine",
    "pebble": "curation.engine curation.workers",
    "multiprocessing": "curation.workers",
    "fasttext": "classifiers",
    "stamina": "curation.endpoint",
}


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def runtime(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield other
                yield from runtime(other)
            continue
        yield node
        yield from runtime(node)


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that a module imports when it runs, here or there in its functions; of others the whole name."""
    found = set()
    for node in runtime(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found


MODULES = modules()
IMPORTS = {name: imported(path, MODULES) for name, path in MODULES.items()}


def ours(names: set[str]) -> set[str]:
    """Those of the names that are this project's."""
    return {name for name in names if name in MODULES}


def within(name: str, place: str) -> bool:
    """Whether a module is this one or lies in this package; the package `curation` is only itself."""
    return name == place or (place != "curation" and name.startswith(f"{place}."))


def layer_of(name: str) -> int:
    """The layer of a module."""
    (layer,) = [number for number, places in enumerate(LAYERS) if any(within(name, place) for place in places)]
    return layer


def test_the_project_is_seen() -> None:
    """The tests below look at all the modules there are."""
    assert len(MODULES) >= 50
    assert "curation.dataset" in IMPORTS["curation.publish"]
    assert "curation.recipe" in IMPORTS["curation.signals"]  # one made inside a function
    assert "curation.recipe" not in IMPORTS["curation.sources"]  # one for typing only


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_its_layer_and_imports_downwards(name: str) -> None:
    """No module imports from a layer above its own."""
    above = {other for other in ours(IMPORTS[name]) if layer_of(other) > layer_of(name)}
    assert not above


def test_no_two_modules_import_each_other() -> None:
    """The modules can be put into an order in which each imports earlier ones alone."""
    graph = {name: ours(imports) - {name} for name, imports in IMPORTS.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("place", NARROW)
def test_the_lowest_modules_stand_alone(place: str) -> None:
    """The lowest modules, and classifiers/, import nothing of the project but what the design lists."""
    for name, imports in IMPORTS.items():
        if within(name, place):
            assert {other for other in ours(imports) if not any(within(other, ok) for ok in NARROW[place])} == set()


@pytest.mark.parametrize("package", ONLY)
def test_each_heavy_package_has_one_place(package: str) -> None:
    """Only flows/ imports prefect, only storage.py boto3, only workers.py processes, only classifiers/ fasttext."""
    users = {name for name, imports in IMPORTS.items() if any(within(other, package) for other in imports)}
    assert {name for name in users if not any(within(name, one) for one in ONLY[package].split())} == set()


def test_only_dataset_writes_parquet() -> None:
    """No other module names what writes Parquet, in Arrow or in DuckDB."""
    writers = {"ParquetWriter", "write_table", "write_to_dataset", "write_dataset", "to_parquet", "write_parquet"}
    users = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in writers:
                users.add(name)
            if isinstance(node, ast.Constant) and "FORMAT PARQUET" in str(node.value).upper():
                users.add(name)
    assert users == {"curation.dataset"}


def test_help_imports_nothing_heavy() -> None:
    """`curate --help` loads click and the errors, so that it answers at once."""
    code = (
        "import sys; sys.argv = ['curate', '--help']\n"
        "from curation.cli import cli\n"
        "cli.main(standalone_mode=False)\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    help_text, _, loaded = done.stdout.partition("LOADED")
    assert "curate init my-textbook" in help_text
    heavy = {"pyarrow", "duckdb", "numpy", "pydantic", "rich", "datasketch", "fasttext", "scipy", "jinja2", "pebble",
             "prefect", "pandas", "xxhash", "yaml", "multiprocessing"}  # fmt: skip
    assert heavy & set(loaded.split()) == set()


READS_PAGES = """
name = "pages"
[[source]]
name = "pages"
kind = "html"
paths = ["page.html"]
"""
RUN = """
import sys
from curation.cli import main
sys.argv = ["curate", "run", "recipe.toml", "--until", "pull"]
main()
print("numba" in sys.modules)
"""


def test_a_run_with_nothing_new_to_read_loads_no_kernels(tmp_path: Path) -> None:
    """Not for the model that cuts pages into blocks either, whose digest says what they are made from."""
    (tmp_path / "page.html").write_text("<title>Bees</title><p>Bees dance.")
    (tmp_path / "recipe.toml").write_text(READS_PAGES)
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert list(tmp_path.glob("**/documents/**/*.parquet"))
