"""The dossier as one self-contained HTML page for screen and paper, and as JSON."""

import json
from pathlib import Path

from consignments.errors import FileFault
from consignments.records import TARGET_NAMES
from training.dossier.blocks import Block, ShownColumn
from training.dossier.dossier import Dossier
from training.reporting.html import create_environment

STATUS_WORDS = {"complete": "complete", "partly": "partly known", "open": "to be filled"}
SHORT_FORMS = {"annex_iv": "Annex IV", "aia": "AIA", "atrs": "ATRS", "model_card": "Model card"}


def render_dossier(dossier: Dossier) -> str:
    """Render the dossier as HTML that holds its style; every value is escaped."""
    forms = dossier.layout.forms
    return (
        create_environment()
        .get_template("dossier.html")
        .render(
            dossier=dossier,
            version=dossier.evidence.version,
            target=TARGET_NAMES[dossier.evidence.served.card.target],
            counts=dossier.count_by_status(),
            to_fill=dossier.list_to_fill(),
            roles=dossier.layout.roles,
            forms=forms,
            short={key: SHORT_FORMS.get(key, form.title) for key, form in forms.items()},
            answers={key: dossier.list_answers(key) for key in forms},
            words=STATUS_WORDS,
            is_left=_is_left_aligned,
        )
    )


def _is_left_aligned(block: Block, shown: ShownColumn) -> bool:
    """Return True for columns of text: the first one, those of texts, and both of a table of names and values."""
    return shown.place == 0 or len(block.columns) == 2 or (shown.column.form == "text" and shown.low is None)


def encode_dossier(dossier: Dossier) -> str:
    """Encode the dossier as JSON."""
    return json.dumps(dossier.to_plain(), ensure_ascii=False, indent=1, default=str) + "\n"


def write_dossier(dossier: Dossier, page: Path) -> tuple[Path, Path]:
    """Write the page, and the JSON next to it; both completely or not at all.

    Parameters
    ----------
    dossier : Dossier
    page : Path
        FILE.html; the JSON becomes FILE.json.

    Returns
    -------
    page, data : Path

    Raises
    ------
    FileFault
        If a file cannot be written.
    """
    data = page.with_suffix(".json")
    texts = {page: render_dossier(dossier), data: encode_dossier(dossier)}
    parts = {path: path.with_name(f".{path.name}.part") for path in texts}
    try:
        for path, text in texts.items():
            parts[path].write_text(text, encoding="utf-8")
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise FileFault(
            "the dossier cannot be written",
            where=str(page),
            got=error.strerror or error.__class__.__name__,
            todo="choose a folder that exists and can be written",
        ) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return page, data
