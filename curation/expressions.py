"""SQL that a recipe holds: is it an answer for one row, and always the same one? And what it says of rows being pulled.

Its author is trusted; the rows are not, and become values, never SQL. Rules are applied by `judge`, not here.
"""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from curation import schema
from curation.dataset import connect
from curation.errors import InputError, RuleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: The table that expressions are checked against.
CHECKED = "columns_of_documents"
#: Rows that are evaluated together, and bytes of them: what a source yields after them waits that long.
BATCH_ROWS = 512
BATCH_BYTES = 4 * 1024 * 1024

#: SQL's words for the present, which need no brackets.
_NOW = (
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "current_localtime",
    "current_localtimestamp",
)  # fmt: skip
#: Parts of SQL that are no expression over one row.
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "DEFAULT": "DEFAULT",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
#: A name of a field as it stands in the input, or a way into objects; all else is SQL.
_PATH = re.compile(r"(?!.*::)[^\W\d][\w$@:-]*(?:\.[\w$@:-]+)*")


def version() -> str:
    """What the answers depend on beside the expression and the row; part of a fingerprint."""
    return f"duckdb-{duckdb.__version__}"


@cache
def _changing_functions() -> frozenset[str]:
    # Of "-" or "year" those for times with a zone are said to change, since they depend on the zone, which is UTC here.
    rows = connect().execute("""
        SELECT function_name FROM duckdb_functions()
        GROUP BY ALL HAVING bool_and(coalesce(stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY'), false))
    """)
    return frozenset(name for (name,) in rows.fetchall()) | {"ago"}


def _changing(tree: Any) -> str | None:
    """The function in a syntax tree whose answer depends on chance or on the time, None if there is none."""
    for node in _nodes(tree):
        if node.get("class") == "FUNCTION":
            word = str(node["function_name"]).lower()
            if word in _changing_functions() or (word == "age" and len(node["arguments"]) == 1):  # counted from today
                return word
        elif node.get("class") == "COLUMN_REF":
            word = ".".join(node["column_names"]).lower()
            if word in _NOW:
                return word
    return None


def names_in(sql: str, names: Iterable[str]) -> list[str]:
    """Those of the names that an expression uses, in their order.

    A word that is both a column and, say, a text in quotes counts too: reading a column too many does no harm.
    """
    words = set(re.findall(r"\w+", sql.lower()))
    return [name for name in names if name.lower() in words]


def sealed() -> duckdb.DuckDBPyConnection:
    """A connection that reads no file: one that an expression read would be an unseen input."""
    connection = connect()
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


def checker(columns: pa.Schema) -> duckdb.DuckDBPyConnection:
    """A sealed connection that `fault` asks, with an empty table of these columns."""
    connection = sealed()
    connection.register(CHECKED, columns.empty_table())
    return connection


def fault(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], place: str, sql: str, *, order: bool = False,
    hint: str = "", absent: Mapping[str, str] | None = None,
) -> list[str]:  # fmt: skip
    """What is wrong with a predicate, or an order, in at most one line; WHERE refuses what looks at more than one row.

    `absent` says of columns that there might be why there are not.
    `documents` is but an alias here, so a subquery finds no table of that name.
    """
    rows = f"FROM {CHECKED} AS documents"
    statement = f"SELECT id {rows} ORDER BY {sql}\n, id" if order else f"SELECT id {rows} WHERE ({sql}\n)"
    tree = _tree(connection, statement)
    if word := _changing(tree):
        return [f"{place}: {word} gives another answer each time, and a release must come out the same (in {sql!r})"]
    try:
        connection.execute(statement)
        if not order:
            kind = connection.execute(f"SELECT ({sql}\n) AS answer {rows}").description[0][1]
            if str(kind) != "BOOLEAN":
                return [f"{place}: expected a predicate that is true or false, got {str(kind).lower()} from {sql!r}"]
    except duckdb.Error as error:
        missing = re.search(r'[Cc]olumn "?(\w+)"? not found', str(error))
        if missing:
            name = missing.group(1)
            if absent and name.lower() in absent:
                return [f"{place}: there is no column {name!r}: {absent[name.lower()]}"]
            near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
            return [f"{place}: there is no column {name!r}; " + (f"nearest are {', '.join(near)}" if near else hint)]
        return [f"{place}: {_first_line(error)} (in {sql!r})"]
    if tree["error"]:
        return [f"{place}: not SQL: {tree['error_message']} (in {sql!r})"]
    return [f"{place}: {what} looks at more than one document (in {sql!r})" for what in _refused(tree)[:1]]


def order_terms(sql: str) -> list[tuple[str, str]]:
    """The terms of an order, each with how it is sorted, as `create_sort_key` wants it.

    >>> order_terms("education_score desc, round(word_count, -2)")
    [('education_score', 'DESC NULLS LAST'), ('round(word_count, -2)', 'ASC NULLS LAST')]
    """
    connection = connect()
    tree = _tree(connection, f"SELECT 1 ORDER BY {sql}\n")
    node = tree["statements"][0]["node"]
    terms = []
    for order in node["modifiers"][0]["orders"]:
        alone = {**tree, "statements": [{"node": {**node, "modifiers": [], "select_list": [order["expression"]]}}]}
        [(text,)] = connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(alone)]).fetchall()
        way = "DESC" if order["type"] == "DESCENDING" else "ASC"
        nulls = order["null_order"] if order["null_order"] != "ORDER_DEFAULT" else "NULLS LAST"
        terms.append((text.removeprefix("SELECT "), f"{way} {nulls}"))
    return terms


# What is wanted -------------------------------------------------------------------------------------------------------

#: What a source's `where` may use.
WHERE_COLUMNS = pa.schema([field for field in schema.DOCUMENTS if field.name not in ("source", "error")])


def where_fault(place: str, sql: str) -> list[str]:
    """What is wrong with a source's `where`, in at most one line."""
    names = WHERE_COLUMNS.names
    return fault(checker(WHERE_COLUMNS), names, place, sql, hint=f"the columns are {', '.join(names)}")


class Where:
    """A source's predicate over the documents that were read."""

    def __init__(self, source: str, sql: str) -> None:
        self.source = source
        self.sql = sql
        self._columns = pa.schema([WHERE_COLUMNS.field(name) for name in names_in(sql, WHERE_COLUMNS.names)])
        if not len(self._columns):
            self._columns = pa.schema([WHERE_COLUMNS.field("id")])
        self._connection = sealed()

    def wanted(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """For each row of `documents` whether it is wanted; `RuleError` for one of which that cannot be said."""
        try:
            answers = self._ask(rows)
        except duckdb.Error as error:
            if len(rows) > 1:  # which row it is that has no answer
                return [answer for row in rows for answer in self.wanted([row])]
            where = f"source {self.source}: where"
            if isinstance(error, duckdb.OutOfMemoryException):
                raise RuleError(
                    f"{where} needs more memory than {_memory(self._connection)} for {rows[0]['origin']} "
                    f"(in {self.sql!r})",
                    remedy="say it with functions that make no text longer than the document's",
                ) from error
            raise RuleError(
                f"{where} cannot be computed for {rows[0]['origin']}: {_first_line(error)} (in {self.sql!r})",
                remedy="for a cast that may fail write try_cast(… as …) and coalesce the null that it may be",
            ) from error
        for row, answer in zip(rows, answers, strict=True):
            if answer is None:
                empty = [name for name in self._columns.names if row[name] is None]
                what = f"{', '.join(empty) or 'an expression in it'} is null in {self.sql!r}"
                example = f'where = "coalesce({empty[0] if empty else "…"}, …) …"'
                raise RuleError(
                    f"source {self.source}: where has no answer for {row['origin']}: {what}",
                    remedy=f"say what holds for null, for example: {example}",
                )
        return answers

    def _ask(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        table = pa.table({name: [row[name] for row in rows] for name in self._columns.names}, schema=self._columns)
        return _answers(self._connection, table, [self.sql], alias="documents")["0"]


def _answers(
    connection: duckdb.DuckDBPyConnection, table: pa.Table | pa.RecordBatch, sql: Sequence[str], *, alias: str
) -> dict[str, list[Any]]:
    """What each expression says of each row, by its number; rows are in their order."""
    connection.register("rows_to_ask", table)
    try:
        selected = ", ".join(f'({one}\n) AS "{number}"' for number, one in enumerate(sql))
        found = connection.sql(f"SELECT {selected} FROM rows_to_ask AS {alias}").to_arrow_table()
    finally:
        connection.unregister("rows_to_ask")
    return {name: found[name].to_pylist() for name in found.column_names}


# Fields ---------------------------------------------------------------------------------------------------------------


def is_path(value: str) -> bool:
    """Whether a field is taken as it is: a name, or names joined by dots that lead into objects.

    >>> is_path("body"), is_path("meta.license"), is_path("dc:title"), is_path("upper(body)"), is_path("a || b")
    (True, True, True, False, False)
    """
    return _PATH.fullmatch(value) is not None


def lookup(row: Mapping[str, Any], path: str | tuple[str, ...]) -> tuple[bool, Any]:
    """Whether a row has this field, and its value; a key with dots in it goes before the way into objects.

    >>> lookup({"meta": {"license": "MIT"}}, "meta.license"), lookup({"a.b": 1}, "a.b"), lookup({}, "a")
    ((True, 'MIT'), (True, 1), (False, None))
    """
    name = path if isinstance(path, str) else ".".join(path)
    if name in row:
        return True, row[name]
    value: Any = row
    for step in name.split(".") if isinstance(path, str) else path:
        if not isinstance(value, dict) or step not in value:
            return False, None
        value = value[step]
    return True, value


class Expressions:
    """The expressions among a source's `fields`, over rows of JSON or of Parquet.

    Of JSON every field is text: a string as it is, all else as JSON writes it, null where it is missing. Of Parquet
    `columns`, the file's own, are typed as they are. `RuleError` where the SQL cannot be read.
    """

    def __init__(self, fields: Mapping[str, str], columns: pa.Schema | None = None) -> None:
        self.sql = {column: value for column, value in fields.items() if not is_path(value)}
        self._connection = sealed() if self.sql else None
        self._paths: dict[tuple[str, ...], str] = {}
        self.uses: dict[str, list[tuple[str, ...]]] = {}
        self._columns = columns
        self._asked = []
        for column, sql in self.sql.items():
            tree = _parse(self._connection, sql)
            self.uses[column] = list(dict.fromkeys(tuple(node["column_names"]) for node in _references(tree)))
            for node in _references(tree):
                path = tuple(node["column_names"])
                if columns is None:
                    node["column_names"] = [self._name(path)]
            self._asked.append(_written(self._connection, tree) if columns is None else sql)

    def __bool__(self) -> bool:
        return bool(self.sql)

    def faults(self) -> list[tuple[str, str]]:
        """The columns whose expression is wrong, and how; nothing is read."""
        found = []
        for column, sql in zip(self.sql, self._asked, strict=True):
            if message := self._fault(column, sql):
                found.append((column, message))
        return found

    def evaluate(self, rows: Sequence[Mapping[str, Any]] | pa.RecordBatch) -> list[dict[str, Any] | str]:
        """For each row the value of each column, or why there is none; a row's answer is the same in any company."""
        return list(self._evaluate(self._table(rows)))

    def _evaluate(self, table: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
        try:
            found = _answers(self._open(), table, self._asked, alias="fields")
        except (duckdb.Error, pa.ArrowException, ValueError, OverflowError) as error:
            if table.num_rows > 1:
                half = table.num_rows // 2
                yield from self._evaluate(table.slice(0, half))
                yield from self._evaluate(table.slice(half))
            elif isinstance(error, duckdb.OutOfMemoryException):
                yield f"fields: needs more memory than {_memory(self._open())}"
            else:
                yield f"fields: {_first_line(error)}"
            return
        for values in zip(*found.values(), strict=True):
            yield dict(zip(self.sql, values, strict=True))

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise InputError("there is no expression to ask")
        return self._connection

    def _table(self, rows: Sequence[Mapping[str, Any]] | pa.RecordBatch) -> pa.RecordBatch:
        """The fields that are asked for, as columns."""
        if isinstance(rows, pa.RecordBatch):
            names = dict.fromkeys(path[0] for paths in self.uses.values() for path in paths)
            return rows.select(list(names)) if names else _nothing(rows.num_rows)
        if not self._paths:
            return _nothing(len(rows))
        arrays = [pa.array([_as_text(lookup(row, path)[1]) for row in rows], pa.large_string()) for path in self._paths]
        return pa.record_batch(arrays, names=list(self._paths.values()))

    def _name(self, path: tuple[str, ...]) -> str:
        """The name of the column that holds a field: columns of SQL do not differ in case alone, fields may."""
        if path not in self._paths:
            name = ".".join(path)
            taken = {other.lower() for other in self._paths.values()}
            while name.lower() in taken:
                name += "'"
            self._paths[path] = name
        return self._paths[path]

    def _fault(self, column: str, sql: str) -> str | None:
        connection = self._open()
        if word := _changing(_tree(connection, f"SELECT ({sql}\n)")):
            return f"{word} gives another answer each time, and a release must come out the same"
        empty = self._table([] if self._columns is None else pa.RecordBatch.from_pylist([], schema=self._columns))
        connection.register("rows_to_ask", empty)
        try:
            connection.execute(f"SELECT 1 FROM rows_to_ask AS fields WHERE ({sql}\n) IS NULL").fetchall()
            kind = str(connection.execute(f"SELECT ({sql}\n) AS answer FROM rows_to_ask AS fields").description[0][1])
        except duckdb.Error as error:
            return _first_line(error)
        finally:
            connection.unregister("rows_to_ask")
        if column == "created_at":
            return None
        if kind not in {"VARCHAR", "JSON", '"NULL"'} and not kind.startswith("ENUM"):
            return f"expected text, got {kind.lower()}; cast it: (…)::varchar"
        return None


def field_faults(fields: Mapping[str, str], kind: str) -> list[tuple[str, str]]:
    """The columns of `fields` whose expression is wrong as far as can be told without the input, and how."""
    found: list[tuple[str, str]] = []
    good = {}
    for column, sql in fields.items():
        try:
            Expressions({column: sql})
        except RuleError as error:
            found.append((column, error.message))
        else:
            good[column] = sql
    if kind == "jsonl":
        found += Expressions(good).faults()
    else:  # the types of a Parquet file's columns are known when it is opened
        found += [
            (column, f"{word} gives another answer each time, and a release must come out the same")
            for column, sql in good.items()
            if not is_path(sql) and (word := _changing(_tree(sealed(), f"SELECT ({sql}\n)")))
        ]
    return found


def _parse(connection: duckdb.DuckDBPyConnection | None, sql: str) -> dict[str, Any]:
    """The syntax tree of one expression; `RuleError` if it is none over the fields of one row."""
    assert connection is not None  # noqa: S101 - there is one where there is an expression
    tree = _tree(connection, f"SELECT ({sql}\n) AS answer")
    if tree["error"]:
        raise RuleError(f"not SQL: {tree['error_message']}")
    node = tree["statements"][0]["node"]
    plain = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY" and len(node["select_list"]) == 1
    if len(tree["statements"]) != 1 or not plain:
        raise RuleError("expected one expression")
    for what in _refused(tree):
        raise RuleError(f"{what} looks at more than the fields of one row")
    return tree


def _tree(connection: duckdb.DuckDBPyConnection, statement: str) -> dict[str, Any]:
    """A statement's syntax tree, or `error` and `error_message`."""
    answer = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()[0][0]
    tree: dict[str, Any] = json.loads(answer)
    return tree


def _refused(tree: Any) -> list[str]:
    """The parts of a syntax tree that are no expression over one row."""
    return [_REFUSED[node["class"]] for node in _nodes(tree) if node.get("class") in _REFUSED]


def _written(connection: duckdb.DuckDBPyConnection | None, tree: dict[str, Any]) -> str:
    assert connection is not None  # noqa: S101 - as above
    sql = connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]).fetchall()[0][0]
    return str(sql).removeprefix("SELECT ").removesuffix(" AS answer")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)


def _references(tree: Any, bound: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """The nodes that name fields; the parameters of a lambda are none."""
    if isinstance(tree, list):
        for part in tree:
            yield from _references(part, bound)
    elif isinstance(tree, dict):
        if tree.get("class") == "COLUMN_REF":
            if tree["column_names"][0] not in bound:
                yield tree
            return
        if tree.get("class") == "LAMBDA":
            bound |= {node["column_names"][0] for node in _nodes(tree["lhs"]) if node.get("class") == "COLUMN_REF"}
        for part in tree.values():
            yield from _references(part, bound)


def _nothing(rows: int) -> pa.RecordBatch:
    """So many rows for expressions that use no field."""
    return pa.record_batch({"nothing": pa.nulls(rows, pa.string())})


def _as_text(value: Any) -> str | None:
    """A value as text that UTF-8 can hold: each lone surrogate becomes U+FFFD."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _memory(connection: duckdb.DuckDBPyConnection) -> str:
    """What a connection may use, as DuckDB words it."""
    return str(connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0])


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
