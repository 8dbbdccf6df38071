"""Slots of a row: where kernels keep the forms and codes of which keys are made, and by which alerts are found.

The forms of each side come first, then the columns of CODES and FIGURES, then HS code and product, then the columns of declared keys.
"""

import numpy as np

from features.normalization.record_kernels import FIELDS
from features.parties import SIDES

FORM_COLUMNS = tuple(f"{side}_{part}" for side in SIDES for part in ("name", "address", "phone", "email"))
NAME, ADDRESS, PHONE, EMAIL = map(np.int64, range(4))
"""Slots of a side after its first one."""
FORMS = len(FORM_COLUMNS)
FIRST_SIDE, OTHER_SIDE = np.int64(0), np.int64(FORMS // 2)
CODES = ("account_id", "departure_country", "origin_country", "route", "declarant", "currency")
FIGURES = ("gross_weight_kg", "declared_value")
CODE_FIELDS = tuple(map(FIELDS.index, (*CODES, *FIGURES)))
ACCOUNT_SLOT = np.int64(FORMS)
FIRST_FIGURE_SLOT = FORMS + len(CODES)
HS_SLOT = FIRST_FIGURE_SLOT + len(FIGURES)
PRODUCT_SLOT, FIRST_DECLARED_SLOT = HS_SLOT + 1, HS_SLOT + 2
