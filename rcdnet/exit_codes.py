"""How a command ends: with an exit code and, if anything went wrong, a sentence."""

import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

from rcdnet.errors import RcdnetError

CLOSED_PIPE = 141  # what a shell sees of a program that SIGPIPE ends: 128 + 13
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_command(work: Callable[[], int | None]) -> int:
    """The exit code of some work: its own or 0, or 1 with a sentence on stderr.

    Where nobody reads its output any more, as behind `| head -1`, it ends without a word.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a file name that is no valid text
    code = CLOSED_PIPE
    try:
        try:
            code = work() or 0
        finally:  # argparse leaves with what it printed still unwritten
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter, which flushes once more
    except RcdnetError as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    except OSError as error:
        sys.stderr.write(f"{os_error_message(error)}\n")
        code = 1
    return code


def os_error_message(error: OSError) -> str:
    """What the system says, as a sentence."""
    if error.errno in DISK_FULL_ERRNOS:
        return "The disk is full. Free some space and try again."
    if error.filename is None or error.strerror is None:
        return str(error)
    name = os.fsdecode(error.filename)
    if isinstance(error, FileNotFoundError):
        return f"No such file or folder: {name}"
    return f"{name} cannot be read or written: {error.strerror.lower()}."
