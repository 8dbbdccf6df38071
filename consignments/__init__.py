"""Records of consignments, inspection outcomes and alerts: definition, validation, reading and writing."""

from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent  # folder with all packages of npsrisk


def refuse_hidden_packages(*names: str) -> None:
    """Raise `BadInput` if a package of another folder hides one of npsrisk, for example a `models/` of the working directory.

    Without this check the import ends with `No module named 'models.registry'`, which names no cause.
    """
    from consignments.errors import BadInput

    for name in names:
        found = find_spec(name)
        place = None if found is None or found.origin is None else Path(found.origin).resolve()
        if place is None or HOME not in place.parents:
            raise BadInput(
                f"another package named {name} hides the package {name} of npsrisk",
                where=str(place or "nowhere"),
                expected=str(HOME / name),
                todo="rename that folder, or run from another folder",
            )
