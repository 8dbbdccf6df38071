"""What every table of a simulated world's parameter files is, and the two shapes of numbers that many of them hold."""

import msgspec

Shares = dict[str, float]
Pair = tuple[float, float]


class ParameterTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the parameter files; an unknown or a missing name in one is an error."""
