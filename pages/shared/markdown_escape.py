"""Words that came from a file, a run or a person, safe to put into Markdown."""

import re


def escape_markdown(text: str) -> str:
    """The text with nothing in it that Markdown would act on: an image in it would make the browser ask another host."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
