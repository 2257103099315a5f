"""Data frames, where pandas is there."""

from __future__ import annotations

from typing import Any


def pandas() -> Any:
    """The package pandas.

    Raises:
        ImportError: says how to get it.
    """
    try:
        import pandas as package
    except ImportError:
        raise ImportError("data frames need the package pandas: pip install pandas") from None
    return package
