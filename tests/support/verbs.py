"""Verbs, run in this process as a shell would run them."""

import json
import shlex
from typing import Any

from click.testing import CliRunner, Result

from npsrisk import main


def run_verb(*words: object, **environment: str | None) -> Result:
    """Run a verb that is given as one line, or as its words."""
    given = shlex.split(str(words[0])) if len(words) == 1 else [str(word) for word in words]
    return CliRunner(env=environment).invoke(main, given)


def succeed(*words: object, **environment: str | None) -> Result:
    """Run a verb that must end with 0."""
    done = run_verb(*words, **environment)
    assert done.exit_code == 0, done.output
    return done


def refuse(*words: object, **environment: str | None) -> str:
    """Run a verb that must end with 2, and return all that it prints."""
    done = run_verb(*words, **environment)
    assert done.exit_code == 2, done.output
    return done.output


def read_json(done: Result) -> dict[str, Any]:
    return json.loads(done.stdout.splitlines()[-1])
