"""What jobs say while they run: progress on a terminal or in a notebook, warnings to the logger ``aaren``, errors in Python's words."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import _aaren

LOGGER = logging.getLogger("aaren")

#: Seconds between two lines about progress, where there is nothing to draw on.
_INTERVAL = 10.0

News = tuple[list[tuple[str, str]], dict[str, tuple[int, int, str]], list[str]]


def _is_notebook() -> bool:
    """Whether output goes to a cell of a notebook, which is no terminal but shows what returns to the start of its line."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class Show:
    """Shows the news of a job: a line that is drawn over on a terminal and in a notebook, else one every ten seconds."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        try:
            self._draws = self._stream.isatty() or _is_notebook()
        except (AttributeError, ValueError):
            self._draws = False
        self._width = 0
        self._said = time.monotonic()

    def __call__(self, news: News) -> None:
        lines, moved, finished = news
        for kind, text in lines:
            if kind == "line":
                self._line(text)
            else:
                self._clear()
                LOGGER.log(logging.ERROR if kind == "error" else logging.WARNING, "%s", text)
        for label, (position, length, text) in moved.items():
            if label not in finished:
                self._progress(f"{label} {position}/{length}, {text}")
        if finished:
            self._clear()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # a closed stream is no reason to stop working

    def _clear(self) -> None:
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def _line(self, text: str) -> None:
        self._clear()
        self._write(text + "\n")

    def _progress(self, text: str) -> None:
        if self._draws:
            line = text[:120]
            self._write("\r" + line.ljust(self._width))
            self._width = len(line)
        elif time.monotonic() - self._said >= _INTERVAL:
            self._said = time.monotonic()
            self._line(text)


class Silent(Show):
    """Shows warnings and errors alone."""

    def __call__(self, news: News) -> None:
        super().__call__(([line for line in news[0] if line[0] != "line"], {}, []))


def show(progress: bool) -> Show:
    """What shows the news of a job."""
    return Show() if progress else Silent()


def say_what_waits() -> None:
    """Says the warnings that came up outside of a job."""
    Silent()(_aaren.drain())


@contextmanager
def translated(call: str, **flags: str) -> Iterator[None]:
    """Turns flags of the command line in the text of an error into what they are called in Python.

    Args:
        call: name of the function.
        flags: names of flags, with underscores, to names of arguments.
    """
    try:
        yield
    except _aaren.Error as error:
        text = re.sub(r"--set (?=\S+=)", "", str(error))

        def name(match: re.Match[str]) -> str:
            return flags.get(match[1].replace("-", "_"), match[0])

        text = re.sub(r"(?<![\w`-])--([a-z]+(?:-[a-z]+)*)", name, _outside_of_commands(text))
        raise _aaren.Error(text.replace("\0", "--")) from None


def _outside_of_commands(text: str) -> str:
    """Hides the flags of commands in backticks, which people can type as they are."""
    return re.sub(r"`[^`]*`", lambda match: match[0].replace("--", "\0"), text)


def typed(name: str, value: Any, kind: type, expected: str) -> None:
    """Refuses an argument of another type.

    Raises:
        TypeError: names the argument, what was found, and what is expected.
    """
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise TypeError(f"{name}: found {type(value).__name__}, expected {expected}")
