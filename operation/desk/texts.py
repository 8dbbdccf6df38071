"""Texts of the pages, one table for each language in `texts/`. The English table is complete; others may lack a text."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

DEFAULT_LANGUAGE = "en"
FOLDER = Path(__file__).parent / "texts"


class PageTexts:
    """The texts of one language.

    Parameters
    ----------
    table : mapping
        Text by `section.key`.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table

    def __call__(self, key: str, **values: Any) -> str:
        """Return a text with its values filled in.

        Raises
        ------
        KeyError
            The table has no such text.
        """
        text = self._table[key]
        return text.format(**values) if values else text

    def __contains__(self, key: str) -> bool:
        """Check whether the table has a text."""
        return key in self._table

    def name(self, section: str, code: str | None) -> str:
        """Return the name of a code, for example of a country or a result; the code itself if it has no name."""
        if not code:
            return self._table["word.none"]
        return self._table.get(f"{section}.{code}", code.replace("_", " "))


@cache
def load_page_texts(language: str) -> PageTexts:
    """Load the texts of a language; a text that its table lacks is English."""
    table = _read(DEFAULT_LANGUAGE)
    if (FOLDER / f"{language}.toml").exists():
        table = table | _read(language)
    return PageTexts(table)


def load_own_texts() -> PageTexts:
    """Load the English texts."""
    return load_page_texts(DEFAULT_LANGUAGE)


def _read(language: str) -> dict[str, str]:
    found = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{section}.{key}": text for section, texts in found.items() for key, text in texts.items()}
