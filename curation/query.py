"""SQL over everything that was measured and decided: a view for each dataset, and `corpus`, all of them joined."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from curation import schema
from curation.compare import pair_parts
from curation.dataset import connect
from curation.errors import StorageError
from curation.pull import parts_there
from curation.run import workspace

if TYPE_CHECKING:
    import duckdb

    from curation.recipe import Recipe


def open_views(recipe: Recipe, query: str = "*") -> duckdb.DuckDBPyConnection:
    """A connection with the views `documents`, one for each signal, `pairs`, `verdicts`, `blend` and `corpus`.

    Columns that only the whole corpus can tell are in views like `corpus_lines`, after the signal that they are made
    of. Datasets that were not made yet have no view. Where WORK is in S3 the texts are fetched only for a `query` that
    has the word `text` or a `*`; else `documents` is without. Raises `StorageError` when nothing was run yet.
    """
    work, _ = workspace(recipe)
    parts = list(parts_there(recipe, work))
    if not parts:
        raise StorageError(
            f"{work.storage}: nothing was run here yet", remedy=f"run it first: curate run {recipe.path.name}"
        )
    connection = connect(work, threads=2, memory="2GB")
    sidecars = {name: work.signal(name) for name in work.signals} | {"verdicts": work.verdicts, "blend": work.blend}
    sidecars |= {f"corpus_{name}": dataset for name, dataset in work.corpus.items()}
    columns = None if re.search(r"\btext\b|\*", query) else [name for name in schema.DOCUMENTS.names if name != "text"]
    far = work.storage.local_path("") is None
    connection.register("documents", work.documents.scan(parts, columns if far else None))
    joined = "SELECT * FROM documents"
    for name, dataset in sidecars.items():
        if None not in work.storage.each(dataset.footer, parts):
            connection.register(name, dataset.scan(parts))
            joined += f' LEFT JOIN "{name}" USING (id)'
    connection.register("pairs", work.pairs.scan(list(pair_parts(work))))
    connection.execute(f"CREATE TEMP VIEW corpus AS {joined}")
    return connection
