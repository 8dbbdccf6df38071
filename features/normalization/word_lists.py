"""Lists of words as text."""


def read_words(text: str) -> dict[str, str]:
    """Parse lines of `normal word: variants` into a mapping from variants to the normal word."""
    lines = [line.split(":") for line in text.strip().splitlines()]
    return {word: ours.strip() for ours, others in lines for word in others.split()}
