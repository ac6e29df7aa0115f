"""`make vectors`: write the golden vectors that are missing; those that exist are never changed."""

from __future__ import annotations

from tests.aggregation import make_vectors as aggregation
from tests.statements import make_vectors as statements
from tests.vectors import exported


def main() -> None:
    """Write what is missing."""
    aggregation.main()
    statements.write()
    exported.write()


if __name__ == "__main__":
    main()
