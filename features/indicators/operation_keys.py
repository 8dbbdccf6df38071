"""Operation keys: the secret that the partners of one operation share, and the indicators that are computed with it.

An indicator is the keyed hash (keyed BLAKE2b, RFC 7693) of an identifier in normal form. The key of each kind and resolution is derived
from the operation key, so that equal texts of two kinds, or of two operations, have different indicators. A holder of the key can
test guesses (docs/operation.md has the cost). Without it, an indicator can neither be read nor compared.
"""

import base64
import logging
import secrets
import tomllib
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from consignments.errors import BadSetting, MessageFault
from consignments.files.whole_files import create_key_file

SECRET_BYTES = 32
DIGEST_BYTES = 16
KEY_ID_BYTES = 8
MAX_KEY_FILE_BYTES = 10_000
KEY_SUFFIX = ".operation"
_DOMAIN = "npsrisk indicator 1"
_SEPARATOR = "\x1e"

log = logging.getLogger("npsrisk")


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operation: Annotated[str, Meta(min_length=1, max_length=100)]
    secret: str
    until: Annotated[datetime, Meta(tz=True)] | None = None


class OperationKey:
    """The key of one operation: its secret of 32 random bytes, and the end of the operation, from which on it makes no indicators.

    >>> key = OperationKey("EXAMPLE", bytes(32))
    >>> key.compute("phone", "exact", "82101234567") == key.compute("email", "exact", "82101234567")
    False
    """

    def __init__(self, operation: str, secret: bytes, until: datetime | None = None) -> None:
        self.operation, self.until, self._secret = operation, until, secret
        self.key_id = sha256(f"{_DOMAIN} id".encode() + secret).digest()[:KEY_ID_BYTES].hex()
        self._prepared: dict[tuple[str, str], blake2b] = {}

    def __reduce__(self) -> tuple[type["OperationKey"], tuple[str, bytes, datetime | None]]:
        """Return the parts from which another process of the same batch rebuilds it."""
        return type(self), (self.operation, self._secret, self.until)

    def compute(self, kind: str, resolution: str, value: str) -> str:
        """Compute the indicator of a value, `KEY:KIND/RESOLUTION:DIGEST`."""
        state = self._prepared.get((kind, resolution))
        if state is None:
            text = _SEPARATOR.join((_DOMAIN, self.operation, kind, resolution))
            key = blake2b(text.encode(), key=self._secret, digest_size=SECRET_BYTES).digest()
            state = self._prepared[kind, resolution] = blake2b(key=key, digest_size=DIGEST_BYTES)
        hashing = state.copy()
        hashing.update(value.encode("utf-8", "surrogatepass"))
        return f"{self.key_id}:{kind}/{resolution}:{hashing.hexdigest()}"

    @classmethod
    def create(cls, path: Path, operation: str, until: datetime | None = None) -> "OperationKey":
        """Create a key in a new file that only its owner can read; `BadInput` if it exists, because a key is never replaced."""
        secret = secrets.token_bytes(SECRET_BYTES)
        lines = [
            "# Key of an operation (npsrisk exchange key). Give it to the partners of this operation alone.",
            f"operation = {msgspec.json.encode(operation).decode()}",
            f'secret = "{base64.b64encode(secret).decode()}"',
        ]
        lines += [] if until is None else [f"until = {until.isoformat()}"]
        create_key_file(path, ("\n".join(lines) + "\n").encode())
        return cls(operation, secret, until)

    @classmethod
    def read(cls, path: Path) -> "OperationKey":
        """Read a key from its file."""
        try:
            with path.open("rb") as file:
                text = file.read(MAX_KEY_FILE_BYTES).decode()
            found = msgspec.convert(tomllib.loads(text), _KeyFile, strict=False)
            secret = base64.b64decode(found.secret, validate=True)
        except OSError as error:
            raise BadSetting(
                "the operation key cannot be read", where=str(path), got=error.strerror or str(error)
            ) from error
        except (ValueError, msgspec.ValidationError) as error:
            raise _build_key_fault(path, error.__class__.__name__) from error
        if len(secret) != SECRET_BYTES:
            raise _build_key_fault(path, f"{len(secret)} bytes")
        return cls(found.operation, secret, found.until)


def _build_key_fault(path: Path, got: str) -> BadSetting:
    # The text of the fault of the parser may contain the secret.
    return BadSetting(
        "the file holds no operation key",
        where=str(path),
        got=got,
        expected=f"operation, and secret: {SECRET_BYTES} bytes in base64",
        todo="copy the file again from the partner who created it with npsrisk exchange key",
    )


class OperationKeys:
    """The operation keys that this process has."""

    def __init__(self, keys: Iterable[OperationKey] = ()) -> None:
        self._keys: dict[str, OperationKey] = {}
        self.update(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[OperationKey]:
        return iter(self._keys.values())

    def update(self, keys: Iterable[OperationKey]) -> None:
        """Add keys. None is removed: what was scored with it must stay computable."""
        self._keys.update((key.key_id, key) for key in keys)

    def get(self, key_id: str) -> OperationKey | None:
        """Return the key of an indicator; None if this process does not have it."""
        return self._keys.get(key_id)

    def list_missing(self, tokens: Iterable[str]) -> list[str]:
        """List the identifiers of the keys of some indicators that this process does not have, each once."""
        return sorted({key_id for token in tokens if (key_id := token.partition(":")[0]) not in self._keys})

    def require(self, tokens: Iterable[str], operation: str | None, where: str = "") -> None:
        """Check that the indicators of a message of an operation can be compared."""
        missing = self.list_missing(tokens)
        if missing:
            raise MessageFault(
                "its indicators cannot be compared",
                where=where,
                got=f"operation key {', '.join(missing)} of {operation}",
                expected="a key in the folder keys of the exchange directory",
                todo="ask a partner for the key file, and send or import the message again",
            )

    def find(self, operation: str | None, at: datetime) -> OperationKey:
        """Find the key of an operation to make indicators with."""
        valid = [key for key in self if key.until is None or at < key.until]
        found = [key for key in valid if operation in (None, key.operation)]
        if len(found) != 1:
            raise BadSetting(
                "the operation key cannot be chosen",
                where="operation keys",
                got=f"{len(found)} keys valid at {at:%Y-%m-%d %H:%M} UTC"
                + (f" for {operation}" if operation else ""),
                expected="exactly one",
                todo="create one with npsrisk exchange key, or name the operation with --operation",
            )
        return found[0]

    @classmethod
    def read_folder(cls, folder: Path) -> "OperationKeys":
        """Read all keys of a folder; there are none if it does not exist."""
        return cls(OperationKey.read(path) for path in sorted(folder.glob(f"*{KEY_SUFFIX}")))


_installed = OperationKeys()


def install_keys(keys: OperationKeys) -> None:
    """Use these keys in all `Alerts` that are created from now on; keys that are added to them later count too."""
    global _installed
    _installed = keys


def get_installed_keys() -> OperationKeys:
    """Return the keys that `install_keys` set; by default there are none."""
    return _installed
