"""Python in answers: found, parsed, and compared. It is run in `sandbox`, if at all."""

from __future__ import annotations

import ast
import re
import warnings
from typing import TYPE_CHECKING

from curation.textbooks.sandbox import Exercise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: A fenced block: the name of its language, and what is in it.
FENCE = re.compile(r"^```([A-Za-z0-9_+-]*)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
#: Bytes of code that are parsed.
_MOST = 100_000


def blocks(text: str) -> list[str]:
    r"""The blocks of Python in a text, and those of no language that is named.

    >>> blocks("```python\nx = 1\n```\n\n```sh\nls\n```")
    ['x = 1\n']
    """
    return [code for name, code in FENCE.findall(text) if name.lower() in ("", "py", "python", "python3")]


def parses(code: str) -> bool:
    r"""Whether it is Python; it is never run. A session with prompts (>>>) is, if what was typed is.

    >>> parses("def f(x):\n    return x"), parses("def f(x:"), parses(">>> 1 + 1\n2")
    (True, False, True)
    """
    return tree(code) is not None


def tree(code: str) -> ast.Module | None:
    """What Python makes of code, or of what was typed in a session; None where it is none, or too much for it."""
    code = _typed(code)
    if len(code) > _MOST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _typed(code: str) -> str:
    if re.search(r"^>>> ", code, re.MULTILINE):
        return "\n".join(line[4:] for line in code.splitlines() if line.startswith((">>> ", "... ")))
    return code


def sections(text: str, names: Sequence[str]) -> list[str] | None:
    r"""What stands under each of these headings, which must come in this order; None where one is missing.

    >>> sections("# A\nx\n## B b\ny", ["A", "B"])
    ['\nx\n', '\ny']
    """
    place, bounds = 0, []
    for name in names:
        heading = re.compile(rf"^#{{1,6}}[ \t]+{re.escape(name)}\b[^\n]*$", re.MULTILINE | re.IGNORECASE)
        found = heading.search(text, place)
        if found is None:
            return None
        bounds.append(found.span())
        place = found.end()
    ends = [*(start for start, _ in bounds), len(text)][1:]
    return [text[begin:end] for (_, begin), end in zip(bounds, ends, strict=False)]


def exercise(text: str, names: Sequence[str]) -> Exercise | None:
    """The exercise in a text that has it, its solution and its tests under these headings; None where it is none.

    It is one where a function with a docstring is left to be written, the solution defines one of that name with those
    parameters, and the tests assert something and call it.
    """
    parts = sections(text, names)
    if parts is None or len(parts) != 3:
        return None
    codes = ["\n".join(map(_typed, blocks(part))) for part in parts]
    asked, solved, tested = map(tree, codes)
    if asked is None or solved is None or tested is None:
        return None
    for function in _functions(asked):
        wanted = ast.get_docstring(function)
        solutions = [one for one in _functions(solved) if one.name == function.name]
        is_tested = any(isinstance(node, ast.Assert) for node in ast.walk(tested)) and any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function.name
            for node in ast.walk(tested)
        )
        is_solved = any(_parameters(one) == _parameters(function) for one in solutions)
        if wanted and _is_open(function) and is_solved and is_tested:
            return Exercise(codes[0], codes[1], codes[2], wanted if ">>> " in wanted else "")
    return None


def _functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    every = function.args
    named = [*every.posonlyargs, *every.args, every.vararg, *every.kwonlyargs, every.kwarg]
    return [one.arg for one in named if one is not None]


def _is_open(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether nothing follows its docstring but what stands for a body."""
    return all(
        isinstance(node, ast.Pass | ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in function.body
    )
