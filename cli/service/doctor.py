"""Verb doctor: checks an installation, and says for each fault what to do. It changes nothing."""

from cli.stores import read_settings
from cli.verb import Result, verb


@verb
def doctor() -> Result:
    """Check an installation, and say how to correct each fault.

    Each line says what was found, and what to do if it is wrong or a warning. It changes nothing, and the service may keep
    running. Run it as the user of the service, with its settings.

    Exit code 0 if everything is right, 1 if anything is wrong, 2 if a setting is invalid.

    \b
    Example:
    npsrisk doctor
    """
    from cli.service.installation import examine

    results = list(examine(read_settings()))
    wrong = [each for each in results if not each.ok]
    last = "Everything is right." if not wrong else f"{len(wrong)} of {len(results)} checks failed."
    checks = [each._asdict() for each in results]
    text = "\n".join([*map(str, results), last])
    return Result({"ok": not wrong, "checks": checks}, text, failed=bool(wrong))
