"""E-mail addresses in normal form."""

from functools import lru_cache
from unicodedata import normalize

from features.normalization.letters import drop_invisible

_GMAIL_DOMAINS = frozenset(("gmail.com", "googlemail.com"))
_EDGES = ">." + "".join(filter(str.isspace, map(chr, range(0x3001))))
_CACHED_ADDRESSES = 1 << 14


@lru_cache(_CACHED_ADDRESSES)
def normalize_email(email: str | None) -> str:
    """Normalize an e-mail address: lower case, no +tags, and no dots if the provider ignores them.

    >>> normalize_email("J.Doe+shop@Googlemail.com")
    'jdoe@gmail.com'
    """
    if not email:
        return ""
    address = normalize("NFKC", drop_invisible(email)).strip().casefold()
    address = address.rpartition("<")[2].removeprefix("mailto:").strip(_EDGES)
    local, at, domain = address.rpartition("@")
    if not at:
        return address
    local = local.partition("+")[0] or local
    if domain in _GMAIL_DOMAINS:
        local, domain = local.replace(".", "") or local, "gmail.com"
    return f"{local}@{domain}"
