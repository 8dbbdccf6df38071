"""Verb doctor: checks an installation, and says for each fault what to do. It changes nothing."""

from cli.stores import read_settings
from cli.verb import Result, verb


@verb
def doctor() -> Result:
    """Check an installation, and say how to correct each fault.

    Changes nothing, and the service may keep running. Run it as the user of the service, with its settings. Exit code 0 if
    everything is right, 1 if anything is wrong, 2 if a setting is invalid.

    \b
    Example:
    npsrisk doctor
    """
    from cli.service.installation import examine

    results = list(examine(read_settings()))
    wrong = sum(not each.ok for each in results)
    last = f"{wrong} of {len(results)} checks failed." if wrong else "Everything is right."
    values = {"ok": not wrong, "checks": [each._asdict() for each in results]}
    return Result(values, "\n".join([*map(str, results), last]), failed=bool(wrong))
