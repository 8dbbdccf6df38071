"""Printing of the result of a verb."""

import json
from typing import Any

import click


def print_result(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a result as text for a person, or as one JSON object."""
    click.echo(json.dumps(result, default=str, sort_keys=False) if as_json else text)
