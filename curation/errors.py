"""The errors a person is meant to read: what, where, what was there instead, and the remedy.

```
CurationError            the run failed: exit status 1
├── UsageError           the recipe or the call is wrong: exit status 2
│   └── RecipeError      every fault of a recipe at once, each with its place
├── InputError           an input cannot be read as a whole
├── SignalError          a signal gave something else than it promised
├── RuleError            a rule has no answer for a document
├── WipeOutError         deduplication would remove more of a source than the recipe allows
├── WorkerError          a worker process died or did not come back
├── StorageError         a file cannot be read, written or claimed
├── ReleaseError         a release is missing, incomplete or not what its manifest says
└── EndpointError        an endpoint does not answer, or not as it should
    └── BudgetError      what an endpoint may cost is spent
```

A record that cannot be read is no error here: it is a document with `error`.
"""

from __future__ import annotations


class CurationError(Exception):
    """A failure of the run, with the remedy that the command line prints below it."""

    exit_status = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the remedy, since most errors cross from a worker process."""
        return (_rebuild, (type(self), self.message, self.remedy))


def _rebuild(kind: type[CurationError], message: str, remedy: str | None) -> CurationError:
    return kind(message, remedy=remedy)


class UsageError(CurationError):
    """The call is wrong."""

    exit_status = 2


class RecipeError(UsageError):
    """The recipe is wrong; the message lists every fault with its place."""


class InputError(CurationError):
    """An input is missing or cannot be read as a whole."""


class SignalError(CurationError):
    """A signal gave something else than it promised."""


class RuleError(CurationError):
    """A rule has no answer for a document."""


class WipeOutError(CurationError):
    """Deduplication would remove more of a source than the recipe allows."""


class WorkerError(CurationError):
    """A worker process died or did not come back in time."""


class StorageError(CurationError):
    """A file cannot be read, written or claimed."""


class ReleaseError(CurationError):
    """A release is missing, incomplete or not what its manifest says."""


class EndpointError(CurationError):
    """An endpoint does not answer, or not as it should."""


class BudgetError(EndpointError):
    """What an endpoint may cost is spent."""
