"""TLS certificate and key, named by settings and loaded again after a renewal."""

import ssl
from pathlib import Path

from consignments.errors import BadSetting
from serving.encryption.certificates import read_certificate_end
from serving.process.settings import Settings
from serving.process.watched_files import WatchedFiles


class Certificate:
    """The TLS certificate of the service, valid until `ends_at`; connections that begin after a renewal use the new one."""

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        self._files = certificate_file, key_file
        self.context = _create_context(*self._files)
        self.ends_at = read_certificate_end(certificate_file)
        self.refresh = WatchedFiles(lambda: self._files, self._load).refresh

    @classmethod
    def from_settings(cls, settings: Settings) -> "Certificate | None":
        """Load the certificate that the settings name; return None if they name none."""
        certificate, key = settings.tls_cert_file, settings.tls_key_file
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise BadSetting(
                "TLS needs a certificate and its key",
                where="NPSRISK_TLS_KEY_FILE" if key is None else "NPSRISK_TLS_CERT_FILE",
                todo="set both, or neither if a proxy in front provides TLS",
            )
        return cls(certificate, key)

    def _load(self) -> None:
        """Load the files; a pair that cannot be used changes nothing."""
        _create_context(*self._files)  # a pair that does not match would break the context in use
        self.context.load_cert_chain(*self._files)
        self.ends_at = read_certificate_end(self._files[0])


def _create_context(certificate_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password, because OpenSSL would else ask for one on the terminal.
        context.load_cert_chain(certificate_file, key_file, password="")
    except (OSError, ValueError) as error:
        raise BadSetting(
            "the TLS certificate cannot be used",
            where="NPSRISK_TLS_CERT_FILE, NPSRISK_TLS_KEY_FILE",
            got=f"{certificate_file}, {key_file}: {getattr(error, 'strerror', None) or error}",
            expected="a certificate and the key that belongs to it, without a password, in PEM",
        ) from error
    return context
