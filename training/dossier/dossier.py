"""The dossier of a version: what is known, what a person must add, and the sections of public forms that each field answers."""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from consignments.errors import FileFault, UnknownName, explain_failure
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from models.arrays import Row
from training.dossier import tables
from training.dossier.tables import DossierEvidence
from training.evaluation.estimate import ENDS
from training.reporting.html import create_environment, label_cells
from training.reporting.tables import format_setting

FORMAT_VERSION = 2
MAX_ANSWERS_BYTES = 1_000_000
MAX_SHOWN_ROWS = 30  # rows of a table on the page; the JSON has all
NO_ANSWERS: Mapping[str, str] = {}
NOT_SHOWN = (
    "Too few results carry an estimate. Nobody can fill this in: a training after more finds will have it."
)
SHORT_FORMS = {"annex_iv": "Annex IV", "aia": "AIA", "atrs": "ATRS", "model_card": "Model card"}
STATUS_WORDS = {"complete": "complete", "partly": "partly known", "open": "to be filled"}

Layout = Mapping[str, Any]  # what the files say: `roles`, `table`, `section`, and `forms`


@cache
def load_layout() -> Layout:
    """Load `fields.toml` and `forms.toml`, which are part of the product."""
    forms, fields = (
        tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
        for name in ("forms.toml", "fields.toml")
    )
    return {**fields, "forms": forms}


def list_fields(layout: Layout) -> list[dict[str, Any]]:
    """List the fields in their order."""
    return [field for section in layout["section"] for field in section["field"]]


def read_answers(path: Path) -> dict[str, str]:
    """Read what persons have added: a TOML file with a table `[answers]`, key of a field to text."""
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
    known = [field["key"] for field in list_fields(load_layout())]
    for key in answers:
        if key not in known:
            raise UnknownName.from_candidates(key, known, kind="field", where=path.name)
    return {key: text.strip() for key, text in answers.items() if text.strip()}


def build_dossier(
    evidence: DossierEvidence, created: date, answers: Mapping[str, str] = NO_ANSWERS
) -> dict[str, Any]:
    """Build the dossier of a version as plain data; equal inputs give an equal document."""
    layout = load_layout()
    sections = [
        {
            "key": section["key"],
            "title": section["title"],
            "fields": [_fill_field(field, layout, evidence, answers) for field in section["field"]],
        }
        for section in layout["section"]
    ]
    fields = [field for section in sections for field in section["fields"]]
    answered = {
        name: {
            key: {
                "title": title,
                "fields": [each["key"] for each in fields if key in each["cites"].get(name, ())],
            }
            for key, title in form["sections"].items()
        }
        for name, form in layout["forms"].items()
    }
    waiting = {
        role: [each["key"] for each in fields if each["to_be_filled"] and each["to_be_filled"]["by"] == role]
        for role in layout["roles"].values()
    }
    return {
        "format": FORMAT_VERSION,
        "created": created.isoformat(),
        "model": evidence.version.name,
        "version": evidence.version.number,
        "target": evidence.target_name,
        "bundle_sha256": evidence.served.sha256,
        "run_evidence": evidence.run,
        "fields": {status: sum(each["status"] == status for each in fields) for status in STATUS_WORDS},
        "to_be_filled": {role: keys for role, keys in waiting.items() if keys},
        "forms": {name: {**form, "sections": answered[name]} for name, form in layout["forms"].items()},
        "sections": sections,
    }


def _fill_field(
    field: Row, layout: Layout, evidence: DossierEvidence, answers: Mapping[str, str]
) -> dict[str, Any]:
    """Fill a field as far as it is known, and say who must add what."""
    known, unknown, hidden = {}, [], False
    for name in field.get("tables", ()):
        table = layout["table"][name]
        rows = list_rows(name, table, evidence)
        if rows or table.get("if_empty"):
            hides = any("shown" in row for row in rows) and not any(row.get("shown") for row in rows)
            note = NOT_SHOWN if hides else table.get("note" if rows else "if_empty", "")
            known[name], hidden = {"note": note, "rows": rows}, hidden or hides
        elif "if_empty" not in table:
            unknown.append(table["title"])
    wanted = [f"npsrisk does not know of this version: {', '.join(unknown)}."] if unknown else []
    answer = answers.get(field["key"], "")
    text = " ".join([*(text for text, _ in field.get("statements", ())), field.get("text", "")]).strip()
    what = "" if answer else " ".join([*wanted, field.get("ask", "")]).strip()
    is_empty = not (known or text or answer)
    return {
        "key": field["key"],
        "title": field["title"],
        "status": "open" if is_empty else "partly" if what or hidden else "complete",
        "cites": field["cites"],
        "text": text,
        "known": known,
        "answer": answer,
        "to_be_filled": {"by": layout["roles"][field["by"]], "what": what} if what else None,
    }


def list_rows(name: str, table: Row, evidence: DossierEvidence) -> list[dict[str, Any]]:
    """List the rows of a table: the values of its pairs, rows of the run, or what its function returns."""
    rows: Iterable[Row]
    if "pairs" in table:
        found = [(title, evidence.get_value(path), form) for title, path, *form in table["pairs"]]
        rows = [
            {"name": title, "value": value if form else format_setting(value)}
            for title, value, form in found
            if value not in (None, "", ())
        ]
    elif "text" in table:
        given = evidence.get_value(table["of"])
        rows = [] if given is None else [{"text": table["text"].format(given)}]
    elif "run_table" in table:
        rows = _pick_run_rows(table, evidence.tables[table["run_table"]])
    else:
        known = evidence.get_value(table.get("of", ""))
        rows = [] if known is None else getattr(tables, f"list_{name}", tables.list_plain)(known)
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


def _pick_run_rows(table: Row, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Pick the wanted columns, and the rows that have more than their name."""
    picked = [
        {each: row[each] for name, *_ in table["columns"] for end in ENDS if (each := f"{name}{end}") in row}
        for row in rows
    ]
    return [row for row in picked if any(value is not None for value in list(row.values())[1:])]


def render_dossier(made: Mapping[str, Any]) -> str:
    """Render the dossier as one self-contained HTML page for screen and paper; every value is escaped."""
    layout, environment = load_layout(), create_environment()
    fields = {field["key"]: field for section in made["sections"] for field in section["fields"]}
    known = {"made": made, "fields": fields, "tables": layout["table"], "roles": layout["roles"].values()}
    known |= {"short": SHORT_FORMS, "words": STATUS_WORDS, "max_rows": MAX_SHOWN_ROWS}
    return label_cells(environment.get_template("dossier.html").render(known, filters=environment.filters))


def encode_dossier(made: Mapping[str, Any]) -> str:
    """Encode the dossier as JSON."""
    return json.dumps(made, ensure_ascii=False, indent=1, default=str) + "\n"


def write_dossier(made: Mapping[str, Any], page: Path) -> tuple[Path, Path]:
    """Write the page FILE.html, and FILE.json next to it."""
    data = page.with_suffix(".json")
    with explain_failure("the dossier cannot be written", page, "choose a folder that can be written"):
        replace_file(page, render_dossier(made).encode(), PUBLIC_MODE)
        replace_file(data, encode_dossier(made).encode(), PUBLIC_MODE)
    return page, data
