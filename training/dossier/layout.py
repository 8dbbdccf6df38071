"""The layout of the dossier, read from `forms.toml` and `fields.toml`: fields, who adds to them, and the sections they answer."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from consignments.errors import BadSetting, FileFault, UnknownName

FORMS_FILE, FIELDS_FILE = "forms.toml", "fields.toml"
MAX_ANSWERS_BYTES = 1_000_000


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public form.

    Attributes
    ----------
    title, source, note : str
        Name, place of publication, and how sure its section numbers are.
    sections : dict
        Number of a section, as it is cited, to its title.
    """

    title: str
    source: str
    note: str
    sections: dict[str, str]


class FieldLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of the dossier.

    Attributes
    ----------
    key, title : str
    by : str
        Role that adds what is missing.
    cites : dict
        Form to the sections that the field answers.
    facts : tuple of str
        Names of facts of the version.
    text : str
        What is true of every model of the product.
    ask : str
        What a person must add; empty if nothing.
    """

    key: str
    title: str
    by: str
    cites: dict[str, tuple[str, ...]]
    facts: tuple[str, ...] = ()
    text: str = ""
    ask: str = ""


class SectionLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of the dossier with its fields."""

    key: str
    title: str
    field: tuple[FieldLayout, ...]


class Layout(msgspec.Struct, frozen=True):
    """The whole layout.

    Attributes
    ----------
    forms : dict
        Key to form.
    roles : dict
        Key to the name of the role.
    sections : tuple of SectionLayout
    """

    forms: dict[str, Form]
    roles: dict[str, str]
    sections: tuple[SectionLayout, ...]

    def list_fields(self) -> list[FieldLayout]:
        """List the fields in their order."""
        return [field for section in self.sections for field in section.field]

    def check(self, facts: Mapping[str, Any]) -> None:
        """Check that all names in the files exist, and that every section of every form is cited.

        Parameters
        ----------
        facts : mapping
            Known facts by their names.

        Raises
        ------
        UnknownName
            If a field names an unknown fact, role, form or section.
        BadSetting
            If a key repeats, a field has neither fact, text nor question, or no field answers a section.
        """
        cited: dict[str, set[str]] = {key: set() for key in self.forms}
        seen: set[str] = set()
        for field in self.list_fields():
            where = f"{FIELDS_FILE}, field {field.key}"
            if field.key in seen or not (field.facts or field.text or field.ask):
                raise BadSetting("a field repeats, or has no fact, text or question", where=where)
            seen.add(field.key)
            _require_known([field.by], self.roles, "role", where)
            _require_known(field.facts, facts, "fact", where)
            _require_known(field.cites, self.forms, "form", where)
            for key, sections in field.cites.items():
                _require_known(sections, self.forms[key].sections, "section", f"{where}, {key}")
                cited[key] |= set(sections)
        for key, form in self.forms.items():
            if missing := [name for name in form.sections if name not in cited[key]]:
                raise BadSetting(
                    "no field answers a section of a form",
                    where=f"{FORMS_FILE}, {key}",
                    got=", ".join(missing),
                    todo=f"cite it in a field of {FIELDS_FILE}",
                )


@cache
def load_layout() -> Layout:
    """Load the layout that is part of the product."""
    forms, fields = (
        tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
        for name in (FORMS_FILE, FIELDS_FILE)
    )
    return msgspec.convert({"forms": forms, "roles": fields["roles"], "sections": fields["section"]}, Layout)


def read_answers(path: Path, layout: Layout) -> dict[str, str]:
    """Read what persons have added: a TOML file with a table `[answers]`, key of a field to text.

    Raises
    ------
    FileFault
        If the file cannot be read, or an answer is no text.
    UnknownName
        If there is no such field.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.loads(file.read(MAX_ANSWERS_BYTES).decode())
        answers = msgspec.convert(content, dict[str, dict[str, str]]).get("answers", {})
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise FileFault(
            "the file of answers cannot be read",
            where=str(path),
            got=str(error),
            expected='a TOML file with the table [answers] and lines KEY = "text"',
            todo="correct the file; the keys are in the JSON of the dossier",
        ) from error
    _require_known(answers, {field.key: field for field in layout.list_fields()}, "field", path.name)
    return {key: text.strip() for key, text in answers.items() if text.strip()}


def _require_known(names: Any, known: Mapping[str, Any], kind: str, where: str) -> None:
    for name in names:
        if name not in known:
            raise UnknownName.from_candidates(name, list(known), kind=kind, where=where)
