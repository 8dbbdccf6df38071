"""The command line of npsrisk: it lists the verbs and loads only the one asked for."""


def main() -> None:
    """Run the command line."""
