"""Kind of the processor of a training run: libraries choose their instructions by it, and another choice may give other last bits."""

import platform

import numpy as np

PROCESSOR_TAG = "processor"
"""Tag of a training run."""


def describe_processor() -> str:
    """Describe the kind of this processor: its architecture, and the groups of vector instructions that numpy found.

    Examples
    --------
    >>> describe_processor() == describe_processor() and describe_processor() != ""
    True
    """
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return " ".join([platform.machine(), *found])
