"""Comity: institutions build AI together without having to trust each other, or the host."""

__version__ = "0.1.0"
