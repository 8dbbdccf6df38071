"""The commands that pages of the documentation show, and what an HTML page would fetch from elsewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
BLOCK = re.compile(r"(?:^    .*\n|^[ \t]*\n)+", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(npsrisk|python|make|mlflow|[a-z_]+=\"|cd|echo) ?")
OPERATORS = {"|", "||", "&&", ">", ";"}


def commands(page: str) -> Iterator[str]:
    """Give the commands of a page in their order, each on one line: those that stand indented by four spaces.

    Examples
    --------
    >>> list(commands("Do\\n\\n    npsrisk train --out \\\\\\n        w  # now\\n\\nand be glad.\\n"))
    ['npsrisk train --out w  # now']
    """
    for block in BLOCK.findall(FENCE.sub("", page)):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if COMMAND.match(line[4:]):
                yield line[4:]


def files(page: str) -> dict[str, str]:
    """Give the TOML files that a page shows, under the name by which its commands call each."""
    shown = [text for language, text in FENCE.findall(page) if language == "toml"]
    named = re.findall(r"--(?:config|answers) (\w+\.toml)", page)
    return dict(zip(dict.fromkeys(named), shown, strict=False))


def list_fetched(page: str) -> list[str]:
    """List what an HTML page would fetch from elsewhere."""
    return re.findall(r"""<(?:script|link|iframe)\b|(?:src|href)\s*=\s*["'](?!#)[^"']*""", page)


def verbs(command: str) -> Iterator[list[str]]:
    """Give the words of each call of npsrisk in a command, `npsrisk` left out."""
    words = shlex.split(command, comments=True)
    starts = [place for place, word in enumerate(words) if word == "npsrisk"]
    for start in starts:
        rest = words[start + 1 :]
        ends = [place for place, word in enumerate(rest) if word in OPERATORS]
        yield rest[: ends[0]] if ends else rest
