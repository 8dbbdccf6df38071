"""TLS by settings: the certificate and its key, read again when they are renewed."""

import ssl
from pathlib import Path

from consignments.errors import BadSetting
from serving.process.settings import Settings
from serving.process.state_directory import FileStamp, get_file_stamp


class Certificate:
    """The certificate of the service; connections that begin after a renewal get the new one.

    Parameters
    ----------
    certificate_file, key_file : Path
        PEM; the certificate with the chain of its issuers, the key without a password.

    Attributes
    ----------
    context : SSLContext
        TLS 1.2 or newer.

    Raises
    ------
    BadSetting
        Where the files cannot be used.
    """

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        self._files = certificate_file, key_file
        self.context = _create_context(*self._files)
        self._seen = self._stamps()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Certificate | None":
        """Read the certificate that the settings name; None where they name none.

        Raises
        ------
        BadSetting
            Where they name only one of the two files, or these cannot be used.
        """
        certificate, key = settings.tls_cert_file, settings.tls_key_file
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise BadSetting(
                "TLS needs a certificate and its key",
                where="NPSRISK_TLS_KEY_FILE" if key is None else "NPSRISK_TLS_CERT_FILE",
                todo="name both, or neither where a proxy speaks TLS",
            )
        return cls(certificate, key)

    def refresh(self) -> bool:
        """Read the files where they changed; gives whether they did. Bad files leave the certificate as it was.

        Raises
        ------
        BadSetting
            Where the new ones cannot be used.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        _create_context(*self._files)  # two that do not fit would spoil the context that serves
        self.context.load_cert_chain(*self._files)
        self._seen = stamps
        return True

    def _stamps(self) -> list[FileStamp]:
        try:
            return [get_file_stamp(path) for path in self._files]
        except OSError as error:
            raise _bad_files(self._files, error) from error


def _create_context(certificate_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password, for a service has nobody to ask.
        context.load_cert_chain(certificate_file, key_file, password="")
    except (OSError, ValueError) as error:
        raise _bad_files((certificate_file, key_file), error) from error
    return context


def _bad_files(files: tuple[Path, Path], error: Exception) -> BadSetting:
    return BadSetting(
        "the certificate cannot be used",
        where="NPSRISK_TLS_CERT_FILE, NPSRISK_TLS_KEY_FILE",
        got=f"{files[0]}, {files[1]}: {getattr(error, 'strerror', None) or error}",
        expected="a certificate and its own key without a password, in PEM",
    )
