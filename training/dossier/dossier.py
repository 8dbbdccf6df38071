"""The dossier of a version: every field with what is known, what a person must add, and the sections of the forms it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from training.dossier.blocks import Block
from training.dossier.evidence import DossierEvidence
from training.dossier.fact_list import FACTS, OPTIONAL_FACTS
from training.dossier.layout import FieldLayout, Layout, load_layout

FORMAT_VERSION = 1
Status = Literal["complete", "partly", "open"]
NO_ANSWERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class DossierField:
    """A field of the dossier, filled as far as it is known.

    Attributes
    ----------
    layout : FieldLayout
    blocks : tuple of Block
        What is known of this version.
    unknown : tuple of str
        Names of the facts that are not known.
    answer : str
        What a person has added; empty if nothing.
    """

    layout: FieldLayout
    blocks: tuple[Block, ...]
    unknown: tuple[str, ...]
    answer: str = ""

    @property
    def to_fill(self) -> str:
        """Return what a person must add; empty if nothing."""
        if self.answer:
            return ""
        if self.unknown:
            names = ", ".join(FACTS[name].title for name in self.unknown)
            return " ".join(
                part for part in (f"npsrisk does not know of this version: {names}.", self.layout.ask) if part
            )
        return self.layout.ask

    @property
    def status(self) -> Status:
        """Return `complete`, `partly` if a person must add something, or `open` if nothing is known yet."""
        if not self.to_fill:
            return "complete"
        return "partly" if self.blocks or self.layout.text else "open"


@dataclass(frozen=True)
class DossierSection:
    """A section with its fields."""

    key: str
    title: str
    fields: tuple[DossierField, ...]


@dataclass(frozen=True)
class Dossier:
    """The dossier of a version.

    Attributes
    ----------
    evidence : DossierEvidence
    layout : Layout
    created : date
    sections : tuple of DossierSection
    """

    evidence: DossierEvidence
    layout: Layout
    created: date
    sections: tuple[DossierSection, ...]

    @property
    def fields(self) -> list[DossierField]:
        """Return all fields in their order."""
        return [field for section in self.sections for field in section.fields]

    def count_by_status(self) -> dict[Status, int]:
        """Count the fields of each status."""
        statuses: tuple[Status, ...] = ("complete", "partly", "open")
        found = [field.status for field in self.fields]
        return {status: found.count(status) for status in statuses}

    def list_to_fill(self) -> dict[str, list[DossierField]]:
        """List the fields that a person must fill, by the name of the role."""
        waiting = [field for field in self.fields if field.to_fill]
        return {
            name: mine
            for role, name in self.layout.roles.items()
            if (mine := [field for field in waiting if field.layout.by == role])
        }

    def list_answers(self, form: str) -> dict[str, list[DossierField]]:
        """List the fields that answer each section of a form."""
        return {
            section: [field for field in self.fields if section in field.layout.cites.get(form, ())]
            for section in self.layout.forms[form].sections
        }

    def to_plain(self) -> dict[str, Any]:
        """Convert the dossier to plain values for JSON."""
        version, roles = self.evidence.version, self.layout.roles
        return {
            "format": FORMAT_VERSION,
            "created": self.created.isoformat(),
            "model": version.name,
            "version": version.number,
            "bundle_sha256": self.evidence.served.sha256,
            "fields": self.count_by_status(),
            "forms": {
                key: {
                    "title": form.title,
                    "source": form.source,
                    "note": form.note,
                    "sections": {
                        name: {
                            "title": form.sections[name],
                            "fields": [field.layout.key for field in answers],
                        }
                        for name, answers in self.list_answers(key).items()
                    },
                }
                for key, form in self.layout.forms.items()
            },
            "sections": [
                {
                    "key": section.key,
                    "title": section.title,
                    "fields": [_to_plain_field(field, roles) for field in section.fields],
                }
                for section in self.sections
            ],
        }


def build_dossier(
    evidence: DossierEvidence,
    created: date,
    answers: Mapping[str, str] = NO_ANSWERS,
    layout: Layout | None = None,
) -> Dossier:
    """Build the dossier of a version. Equal inputs give an equal document.

    Parameters
    ----------
    evidence : DossierEvidence
    created : date
        Day of the document.
    answers : mapping
        Key of a field to what a person has added.
    layout : Layout, optional
        Default: the layout of the product.

    Raises
    ------
    UnknownName, BadSetting
        If the layout names something that does not exist.
    """
    chosen = layout or load_layout()
    chosen.check(FACTS)
    sections = tuple(
        DossierSection(
            each.key,
            each.title,
            tuple(_fill_field(field, evidence, answers.get(field.key, "")) for field in each.field),
        )
        for each in chosen.sections
    )
    return Dossier(evidence, chosen, created, sections)


def _fill_field(layout: FieldLayout, evidence: DossierEvidence, answer: str) -> DossierField:
    found = {name: FACTS[name].compute(evidence) for name in layout.facts}
    unknown = tuple(name for name, blocks in found.items() if not blocks and name not in OPTIONAL_FACTS)
    return DossierField(
        layout, tuple(block for blocks in found.values() for block in blocks), unknown, answer
    )


def _to_plain_field(field: DossierField, roles: Mapping[str, str]) -> dict[str, Any]:
    layout = field.layout
    return {
        "key": layout.key,
        "title": layout.title,
        "status": field.status,
        "cites": {form: list(sections) for form, sections in layout.cites.items()},
        "text": layout.text,
        "known": [block.to_plain() for block in field.blocks],
        "answer": field.answer,
        "to_be_filled": {"by": roles[layout.by], "what": field.to_fill} if field.to_fill else None,
    }
