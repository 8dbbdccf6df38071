"""Formats of values for officers, and the templates. All values are escaped; control characters are made visible."""

import tomllib
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2

from consignments.timestamps import EPOCH, to_datetime
from models.formats import create_page_environment
from operation.desk.messages import PageAnswer, PageRequest

TEMPLATES = Path(__file__).parent / "templates"


def format_time(value: datetime | int | None) -> str:
    """Format a time in UTC to the minute; a dash if it is missing."""
    if value is None:
        return "–"
    moment = to_datetime(value) if isinstance(value, int) else value
    return f"{moment:%Y-%m-%d %H:%M}"


def format_day(day: int) -> str:
    """Format a number of days since 1970-01-01 as YYYY-MM-DD."""
    return (EPOCH + timedelta(days=day)).date().isoformat()


def parse_day(text: str) -> int | None:
    """Parse YYYY-MM-DD; None if it is no day."""
    try:
        return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) - EPOCH).days
    except ValueError:
        return None


def name_model(model: str) -> str:
    """Name a model by name and version, and the rules in words: their version is a digest."""
    return load_texts()("model.rules") if model.startswith("rules/") else model


def build_link(path: str, **parameters: Any) -> str:
    """Build a link with query parameters; parameters without a value are left out."""
    query = urlencode({name: value for name, value in parameters.items() if value not in (None, "")})
    return f"{path}?{query}" if query else path


@cache
def create_environment() -> jinja2.Environment:
    """Create the template environment: values are escaped and their hidden characters shown; an unknown name is an error."""
    made = create_page_environment(TEMPLATES)
    made.filters |= {"time": format_time, "day": format_day, "model": name_model}
    made.globals |= {"link": build_link, "t": load_texts()}
    return made


def render_template(name: str, request: PageRequest, values: dict[str, Any], status: int) -> PageAnswer:
    """Render a template with the values of a page, and those that all pages have."""
    html = create_environment().get_template(f"{name}.html").render(
        viewer=request.viewer, token=request.token, view=request.view, now_us=request.now_us, q=request.query,
        facts=request.facts, **values,
    )  # fmt: skip
    return PageAnswer(status, html.encode(errors="backslashreplace"), preparing=name == "preparing")


class PageTexts(dict[str, str]):
    """The texts by `section.key`."""

    def __call__(self, key: str, **values: Any) -> str:
        """Return a text with its values filled in; `KeyError` if there is no such text."""
        return self[key].format(**values) if values else self[key]

    def name(self, section: str, code: str | None) -> str:
        """Return the name of a code, for example of a result; the code in words if it has no name."""
        if not code:
            return self["word.none"]
        return self.get(f"{section}.{code}", code.replace("_", " "))

    def list_codes(self, section: str) -> list[str]:
        """List the codes of a section that have a name, in their order."""
        return [key.partition(".")[2] for key in self if key.startswith(f"{section}.")]


@cache
def load_texts() -> PageTexts:
    """Load the texts."""
    found = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
    return PageTexts(
        {f"{section}.{key}": text for section, texts in found.items() for key, text in texts.items()}
    )
