"""Words from outside made safe to show, and lists of names in a sentence."""

import re
import unicodedata
from collections.abc import Sequence

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories
FORMULA = ("=", "+", "-", "@", "\N{MINUS SIGN}")
BLANK = re.compile(r"[\s\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]*")  # spaces, and letters without a shape


def escape_formula(cell: str) -> str:
    """A spreadsheet runs a cell that begins like a formula; file names come from outside.

    What cannot be seen is taken out, and what only looks like a space or a sign, such as a full-width one, counts as it looks.
    """
    cell = printable(cell)
    start = BLANK.sub("", unicodedata.normalize("NFKC", cell), count=1)
    return "'" + cell if start.startswith(FORMULA) else cell


def printable(name: str) -> str:
    r"""A name from outside without what nobody sees: control characters, marks that turn the direction of writing, halves of letters.

    >>> printable("scan\u202egpj.exe"), printable("\x1b[2Ja\tb")
    ('scangpj.exe', '[2Jab')
    """
    return "".join(c for c in name if unicodedata.category(c) not in UNSEEN)


def join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
