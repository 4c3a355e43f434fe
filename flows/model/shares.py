"""Shares of a number, such as `5%` or 0.28, counted exactly as they are written."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction


def parse_percentage(text: str) -> float | None:
    """The share that a text such as `5%` stands for, 0.05; None for any other text."""
    number = text.strip()
    try:
        share = Decimal(number.removesuffix("%").strip()) / 100
    except InvalidOperation:
        return None
    return float(share) if number.endswith("%") and share.is_finite() else None


def share_of(share: float, total: int) -> Fraction:
    """`share` times `total` without rounding: 0.28 of 25 is 7, where floating point finds a little more than 7.

    The share is taken as the shortest decimal number that stands for it, which is how it was written.
    """
    return Fraction(repr(share)) * total
