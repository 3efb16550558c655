"""Machine code over the bytes of many texts: no policy, no input or output, no Python object for each document.

A module of this package is imported when it is first asked for (`kernels.utf8`), since importing numba and loading what
it compiled takes most of a second, which a command that measures nothing should not pay.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

__all__ = [module.name for module in iter_modules(__path__)]

#: Those that are compiled together, before what they are for is done: texts are measured, pages cut into blocks.
_OF_PAGES = {"alignment", "blocks", "html", "markup", "trees"}
GROUPS = {
    "texts": [name for name in __all__ if name not in _OF_PAGES],
    "pages": [name for name in __all__ if name in _OF_PAGES],
}
#: Those that one worker compiles one after another, since they use the same helpers, the longest tasks first. Any other
#: is a task of its own.
TASKS = (
    ("repetition", "datatrove", "c4", "shared_lines"),
    ("contamination",),
    ("education",),
    ("pii",),
    ("language",),
    ("html",),
    ("blocks",),
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
