"""What a person sees while a run works: a moving bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

#: Seconds between two lines about the same work where there is no terminal.
LINE_SECONDS = 10.0


class Progress(Protocol):
    """Where stages say what they are doing; `amount` is in the unit named at the start."""

    def start(self, label: str, total: int, unit: str) -> None:
        """Work of a known size begins."""

    def advance(self, amount: int) -> None:
        """So much more of it is done."""

    def stop(self) -> None:
        """It ended."""

    def line(self, text: str) -> None:
        """A line that stays."""


class Silent:
    """Says nothing: for tests, and for output that a program reads."""

    def start(self, label: str, total: int, unit: str) -> None: ...  # noqa: D102
    def advance(self, amount: int) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def line(self, text: str) -> None: ...  # noqa: D102


class Lines:
    """A line when work has gone on for ten seconds, and each ten seconds after: for logs."""

    def __init__(self) -> None:
        self._work: tuple[str, int, str] | None = None
        self._done = 0
        self._began = self._said = 0.0

    def start(self, label: str, total: int, unit: str) -> None:
        """Remember what begins."""
        self._work, self._done = (label, total, unit), 0
        self._began = self._said = time.monotonic()

    def advance(self, amount: int) -> None:
        """Count, and now and then say how far it is."""
        self._done += amount
        now = time.monotonic()
        if self._work and now - self._said >= LINE_SECONDS:
            label, total, unit = self._work
            rate = self._done / (now - self._began)
            left = f", {duration_of((total - self._done) / rate)} left" if rate and self._done < total else ""
            done = amount_of(self._done) if unit == "B" else f"{self._done:,}"
            speed = f", {amount_of(rate, unit)}/s" if unit in ("B", "documents") else ""
            self.line(f"  {label}: {done} of {amount_of(total, unit)}{speed}{left}")
            self._said = now

    def stop(self) -> None:
        """Forget the work."""
        self._work = None

    def line(self, text: str) -> None:
        """Write to standard error at once."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201


class Terminal:
    """A bar with rate and time left while work goes on, lines above it."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  # only where there is a terminal
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("  {task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[done]}"),
            TimeRemainingColumn(compact=True), console=self._console, transient=True,
        )  # fmt: skip
        self._task: int | None = None
        self._unit = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, label: str, total: int, unit: str) -> None:
        """Show a bar; the first one starts the thread that moves it, since workers that start before can be copies."""
        self.stop()
        self._bar.start()
        self._unit = unit
        self._task = self._bar.add_task(label, total=max(total, 1), done="")

    def advance(self, amount: int) -> None:
        """Move the bar."""
        if self._task is not None:
            task = self._bar.tasks[0]
            done = task.completed + amount
            rate = f" {amount_of(task.speed, self._unit)}/s" if task.speed else ""
            text = f"{amount_of(done, self._unit)}/{amount_of(task.total or 0, self._unit)}{rate}"
            self._bar.update(self._task, advance=amount, done=text)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.remove_task(self._task)  # type: ignore[arg-type]
            self._task = None

    def line(self, text: str) -> None:
        """Print above the bar."""
        self._console.print(text, markup=False, highlight=False)


def amount_of(value: float, unit: str = "B") -> str:
    """A number with its unit, short.

    >>> amount_of(123_456_789, "B"), amount_of(1_234, "parts")
    ('123.5 MB', '1,234 parts')
    """
    if unit != "B":
        return f"{value:,.0f} {unit}"
    if value < 1000:
        return f"{value:.0f} B"
    for prefix in ("k", "M", "G"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {prefix}B"
    return f"{value / 1000:,.1f} TB"


def duration_of(seconds: float) -> str:
    """A time span, short.

    >>> duration_of(7.2), duration_of(42.4), duration_of(95), duration_of(3725)
    ('7.2 s', '42 s', '1 min 35 s', '1 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
