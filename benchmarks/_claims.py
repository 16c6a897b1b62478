"""What a benchmark claims of its figures: a line of its result, with whether it holds."""

from __future__ import annotations

import operator
from typing import Any

_SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def claimed(text: str, value: float, unit: str, goal: str, digits: int | None = 3) -> dict[str, Any]:
    """Return a line of a result's ``claims``.

    Args:
        goal: a sign and a number, ``>= 0.8``. It is held against the value as it is, not as it is written.
        digits: to which the value is rounded when written; None writes it as it is.
    """
    sign, limit = goal.split()
    holds = bool(_SIGNS[sign](value, float(limit)))
    return {"claim": text, "value": value if digits is None else round(value, digits), "unit": unit, "goal": goal,
            "holds": holds}  # fmt: skip
