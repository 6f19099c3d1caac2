"""Reading files that somebody else may have changed: regular ones alone, up to a size, and of JSON what a type says;
and how what was found is quoted in a sentence.

By hand, for a machine that trains has torch and its kind only; a library for this (msgspec, pydantic) it need not have.
"""

import json
import math
import os
import re
import reprlib
import stat
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, BinaryIO, Union, get_args, get_origin, get_type_hints

KB, MB = 2**10, 2**20
DEPTH = 32  # levels of lists and objects
LARGEST = 2**53  # whole numbers that every reader of JSON takes alike
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unreadable(ValueError):
    """A file is not there, is no file, is too large, or holds something else; the message is the end of a sentence."""


@dataclass(frozen=True)
class Within:
    """Limits of a number, both inclusive: `Annotated[int, Within(0, 9)]`. null: what JSON's null stands for, if it may be there."""

    low: float
    high: float
    null: float | None = None


Share = Annotated[float, Within(-1e-6, 1 + 1e-6)]  # but for rounding: an AUC may come out as 1.0000000000000002
Count = Annotated[int, Within(0, LARGEST)]


def file_type_error(path: Path) -> str:
    """What lies at `path` instead of a file, in words; empty where a file lies or nothing does. Links are followed."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing" if path.is_symlink() else ""
    except OSError as error:
        return f"not to be read, {error.strerror}"
    return "" if kind == stat.S_IFREG else _KINDS.get(kind, "no regular file")


def open_regular(path: Path, *, append: bool = False) -> BinaryIO:
    """A file to read, or to add to and made if need be. A pipe, which nobody may ever write to, is not waited for.

    Raises:
        Unreadable: it is not there, or is no regular file. OSError: it may not be written to.
    """
    if what := file_type_error(path):  # before it is opened: that alone may set a device going
        raise Unreadable(f"it is {what}; a file is expected")
    how = os.O_RDWR | os.O_CREAT | os.O_APPEND if append else os.O_RDONLY
    try:
        opened = os.open(path, how | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        if append:
            raise
        raise Unreadable(
            "it is not there" if isinstance(error, FileNotFoundError) else f"{error.strerror}".lower()
        ) from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):  # changed since it was looked at
        os.close(opened)
        raise Unreadable("it is no regular file")
    return os.fdopen(opened, "ab+" if append else "rb")


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a file; `Unreadable` if it is not one, or has more than `limit` bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > limit else file.read(limit + 1)
    if max(size, len(content)) > limit:
        raise Unreadable(f"it has {in_bytes(max(size, len(content)))}; at most {in_bytes(limit)} are expected")
    return content


def read_tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file; raises as `open_regular`."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
        return file.read(limit)


def read_json(path: Path, limit: int) -> Any:
    """As `parse_json`, of a file of at most `limit` bytes."""
    return parse_json(read_regular(path, limit))


def parse_json(content: bytes | str) -> Any:
    """The value in a JSON text.

    Raises:
        Unreadable: it is no JSON (NaN and Infinity are none), is nested deep, or holds a number or text that cannot be stored.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refused)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise Unreadable("its text is no valid UTF-8") from None
    except RecursionError:
        raise Unreadable("it is nested too deep") from None
    except Unreadable:
        raise
    except ValueError as error:
        raise Unreadable(f"it is no valid JSON: {error}") from error
    level = [value]
    for _ in range(DEPTH):
        level = [v for held in level if isinstance(held, dict | list) for v in _inside(held)]
        if not level:
            return value
    raise Unreadable("it is nested too deep")


def parse_as(kind: Any, value: Any) -> Any:
    """A value of JSON as `kind`: a dataclass, or what the fields of one may be. Keys that a dataclass does not have are ignored.

    Raises:
        Unreadable: it is something else, or a number out of its limits.
    """
    return _reader(kind)(value)


def in_bytes(size: int) -> str:
    """
    >>> in_bytes(300 * MB), in_bytes(4096)
    ('300 MB', '4 KB')
    """
    return f"{size // MB} MB" if size >= MB else f"{size // KB} KB" if size >= KB else f"{size} bytes"


def quoted(value: Any) -> str:
    """A value of whatever size and depth, for a message."""
    return reprlib.repr(value)


def shortened(sentence: str, limit: int = 600) -> str:
    """A sentence in one line of what can be shown, cut where it is long.

    >>> shortened("it is\\n x" + "\\x1b" + "y")
    'it is x y'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in sentence[: 4 * limit]).split())
    return text if len(text) <= limit else f"{text[:limit].rstrip()} …"


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """What `parse_as` does for a kind, made once: some files hold a hundred thousand values."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(_reader(arguments[0]), arguments[1])
    if origin in (Union, UnionType):
        (inner,) = (_reader(a) for a in arguments if a is not NoneType)
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _listed([_reader(a) for a in arguments if a is not ...], any_length=arguments[-1] is ...)
    if origin is dict:
        held = _reader(arguments[1])
        return lambda value: {k: held(v) for k, v in _expected(dict, value, "an object").items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    if kind is float:
        return _number
    words = {bool: "true or false", int: "a whole number", str: "a text"}[kind]
    return lambda value: _expected(kind, value, words)


def _expected(kind: type, value: Any, words: str) -> Any:
    if type(value) is not kind:  # true is an int to Python
        raise Unreadable(f"{quoted(value)} is not {words}")
    return value


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise Unreadable(f"{quoted(value)} is not a number")
    return float(value)


def _bounded(inner: Callable[[Any], Any], within: Within) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value is None and within.null is not None:
            return within.null
        number = inner(value)
        if not within.low <= number <= within.high:
            raise Unreadable(f"{number:g} is not within {within.low:g} and {within.high:g}")
        return number

    return read


def _listed(readers: list[Callable[[Any], Any]], *, any_length: bool) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        items = _expected(list, value, "a list")
        if any_length:
            return tuple(map(readers[0], items))
        if len(items) != len(readers):
            raise Unreadable(f"{quoted(items)} is not a list of {len(readers)}")
        return tuple(reader(item) for reader, item in zip(readers, items, strict=True))

    return read


def _object(kind: type) -> Callable[[Any], Any]:
    hints = get_type_hints(kind, include_extras=True)
    readers = {f.name: _reader(hints[f.name]) for f in fields(kind)}
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]

    def read(value: Any) -> Any:
        given = _expected(dict, value, "an object")
        if missing := [name for name in needed if name not in given]:
            raise Unreadable(f"{missing[0]} is missing")
        found = {}
        for name, reader in readers.items():
            if name in given:
                try:
                    found[name] = reader(given[name])
                except Unreadable as error:
                    raise Unreadable(f"{name}: {error}") from error
        return kind(**found)

    return read


def _inside(held: dict | list) -> Any:
    return held.values() if isinstance(held, dict) else held


def _whole(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > LARGEST:
        raise Unreadable(f"{text[:20]} is too large a number")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Unreadable(f"{text[:20]} is too large a number")
    return number


def _refused(name: str) -> float:
    raise Unreadable(f"{name} is no number")


def nan_as_null(value: Any) -> Any:
    """For JSON, which has no nan and nothing infinite."""
    if isinstance(value, dict):
        return {key: nan_as_null(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_null(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def null_as_nan(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in entry.items()}
