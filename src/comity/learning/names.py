"""The form of the names that studies give to tensors and metrics."""

from __future__ import annotations

import re
from typing import Final

NAME: Final = re.compile(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
