"""Models that made past decisions: bundles from the state directory, else from MLflow, and the rules.

A bundle is used only if it has the digest that the decision recorded.
"""

from collections.abc import Callable
from pathlib import Path

from consignments.errors import BundleRefused, NpsriskError
from models.bundle import Bundle, load_bundle
from serving.scoring.scoring_method import ScoringMethod, build_rules_method

FetchBundle = Callable[[str, str], Bundle]
"""Fetches the bundle of a registered version from MLflow, by name and version."""


class PastModels:
    """A finder of the model that made a past decision, by the digest recorded with it; `fetch` is called if no release has it."""

    def __init__(self, state_dir: Path, fetch: FetchBundle) -> None:
        self._releases, self._fetch = state_dir / "models", fetch
        rules = build_rules_method()
        self._found: dict[str, ScoringMethod | str] = {rules.sha256: rules}

    def find(self, model: str, sha256: str) -> ScoringMethod:
        """Find a scoring method, with a verified bundle; raise `BundleRefused` if there is none."""
        if sha256 not in self._found:
            self._found[sha256] = self._look_for(model, sha256)
        found = self._found[sha256]
        if isinstance(found, str):
            raise BundleRefused(found, where=model, expected=f"bundle {sha256[:12]}")
        return found

    def _look_for(self, model: str, sha256: str) -> ScoringMethod | str:
        """Find a bundle's scoring method, or the reason why there is none."""
        faults = []
        for folder in sorted(self._releases.glob(f"*-{sha256[:12]}")):
            try:
                return _verify(load_bundle(folder / "bundle"), sha256)
            except BundleRefused as error:
                faults.append(str(error))
        try:
            return _verify(self._fetch(*model.rsplit("/", 1)), sha256)
        except NpsriskError as error:
            faults.append(f"not available from MLflow: {error}")
        except Exception as error:  # an unreachable server or its client may raise anything
            faults.append(f"not available from MLflow: {error.__class__.__name__}")
        return f"the bundle is not in {self._releases}" + "".join(f"; {fault}" for fault in faults)


def _verify(bundle: Bundle, sha256: str) -> ScoringMethod:
    if bundle.sha256 != sha256:
        raise BundleRefused("the bundle has another digest", got=bundle.sha256[:12], expected=sha256[:12])
    bundle.run_self_test()
    return ScoringMethod.from_bundle(bundle)
