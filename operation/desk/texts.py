"""Texts of the pages, in `texts.toml`."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


class PageTexts:
    """The texts by `section.key`."""

    def __init__(self, table: dict[str, str]) -> None:
        self._table = table

    def __call__(self, key: str, **values: Any) -> str:
        """Return a text with its values filled in; `KeyError` if there is no such text."""
        text = self._table[key]
        return text.format(**values) if values else text

    def __contains__(self, key: str) -> bool:
        """Check whether there is a text."""
        return key in self._table

    def name(self, section: str, code: str | None) -> str:
        """Return the name of a code, for example of a result; the code in words if it has no name."""
        if not code:
            return self._table["word.none"]
        return self._table.get(f"{section}.{code}", code.replace("_", " "))

    def list_codes(self, section: str) -> list[str]:
        """List the codes of a section that have a name, in their order."""
        return [key.partition(".")[2] for key in self._table if key.startswith(f"{section}.")]


@cache
def load_texts() -> PageTexts:
    """Load the texts."""
    found = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
    return PageTexts(
        {f"{section}.{key}": text for section, texts in found.items() for key, text in texts.items()}
    )
