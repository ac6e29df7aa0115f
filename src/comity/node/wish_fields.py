"""The fields that wishes to a running node are made of, each with its bound."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=64)]
FilePath = Annotated[str, Meta(min_length=1, max_length=4_096)]
Url = Annotated[str, Meta(min_length=8, max_length=256)]
