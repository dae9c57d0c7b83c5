"""Numbers as people say them: (a number, a random generator) -> `24`, `twenty-four`, `two dozen`, `one and a half`."""

from __future__ import annotations

import random

_ONES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = (
    "-",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
)
_PARTS = {25: "a quarter", 50: "a half", 75: "three quarters"}


def in_words(number: int, joint: str = " and ") -> str:
    """Return a whole number below a thousand million in words; `joint` stands after the hundreds."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    size = 1_000_000 if number >= 1_000_000 else 1_000 if number >= 1_000 else 100
    name = {100: "hundred", 1_000: "thousand", 1_000_000: "million"}[size]
    many, rest = divmod(number, size)
    head = f"{in_words(many, joint)} {name}"
    if not rest:
        return head
    return f"{head}{joint if size == 100 or rest < 100 else ' '}{in_words(rest, joint)}"


def spoken(number: int, rng: random.Random) -> str:
    """Return a whole number in words, as this or that speaker says it: `a hundred and five`, `one hundred five`."""
    words = in_words(number, " and " if rng.random() < 0.7 else " ")
    if words.startswith(("one hundred", "one thousand", "one million")) and rng.random() < 0.6:
        return "a" + words[3:]
    return words


def is_spoken(number: int) -> bool:
    """Return whether people say this number in words: up to a hundred all, above only round ones."""
    return number <= 100 or (number % 10 == 0 and number < 1000) or number % 100 == 0


def digits(number: int, rng: random.Random) -> str:
    """Return a whole number in digits, from a thousand on often with a comma."""
    return f"{number:,}" if number >= 1000 and rng.random() < 0.6 else str(number)


def count(number: int, dozens: bool, rng: random.Random) -> str:
    """Return a whole number as digits, in words, or, where `dozens` are allowed, as `half a dozen`, `two dozen`."""
    if dozens and (number == 6 or (number % 12 == 0 and 0 < number <= 72)) and rng.random() < 0.45:
        if number == 6:
            return "half a dozen"
        return "a dozen" if number == 12 else f"{in_words(number // 12)} dozen"
    if is_spoken(number) and rng.random() < 0.5:
        return spoken(number, rng)
    return digits(number, rng)


def decimal(number: float, dozens: bool, rng: random.Random) -> str:
    """Return a number that may have two decimals: `2.5`, `two and a half`, `minus two point five`, `-2.5`."""
    if number < 0:
        said = decimal(-number, False, rng)
        return f"-{said}" if said[0].isdigit() and rng.random() < 0.7 else f"minus {said}"
    hundredths = round(number * 100)
    whole, part = divmod(hundredths, 100)
    if not part:
        return count(whole, dozens, rng)
    way = rng.random()
    if way < 0.3 and part in _PARTS and 0 < whole <= 100:
        return f"{in_words(whole)} and {_PARTS[part]}"
    if way < 0.5 and whole <= 100:
        return f"{in_words(whole)} point {' '.join(_ONES[int(digit)] for digit in f'{part:02d}'.rstrip('0'))}"
    return f"{hundredths / 100:g}" if whole < 1000 else f"{digits(whole, rng)}.{part:02d}"


def ordinal(number: int, rng: random.Random) -> str:
    """Return `14th` or `fourteenth`, for 1 to 31."""
    if rng.random() < 0.65:
        ending = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"
    if number < 20:
        return _ORDINALS[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_ORDINALS[ones]}" if ones else f"{_TENS[tens][:-1]}ieth"
