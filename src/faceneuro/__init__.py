"""Facial-expression-based neurology: five published works, recomputed on recordings of faces."""

__version__ = "0.1.0"
