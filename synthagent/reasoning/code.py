"""The embedded solver's Python: the text of a problem -> programs that print its answer, for kinds that code can solve.

A program is derived from what the problem says, wherever the question stands in it, and from nothing else: so that it
prints the known answer only if the words around the question have left the question what it was. What is taken from
the text goes into a program as numbers, operators or quoted words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NUMBERS = r"(?P<numbers>\d+(?:, \d+)*)"
_SUM = r"(?P<sum>[-+*/().\d ]*\d[-+*/().\d ]*)"
_TERM = r"(?:-?\d+|-?\b[a-z]\b)"
_BASES = {"binary": "2", "hexadecimal": "16"}
_TIMES = "\N{MULTIPLICATION SIGN}"
_DIGITS = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a kind is solved. `pattern`: what is looked for in the text; `write`: its groups -> programs, all right."""

    pattern: str
    write: Callable[[Mapping[str, str]], tuple[str, ...]]


def _sum(found: Mapping[str, str]) -> tuple[str, ...]:
    terms = found["sum"].strip()
    return f"print({terms})", f"x = {terms}\nprint(x)"


def _even_sum(found: Mapping[str, str]) -> tuple[str, ...]:
    """Divisions come out even, and a float would print a point."""
    return _sum({"sum": found["sum"].replace("/", "//")})


def _decimal_sum(found: Mapping[str, str]) -> tuple[str, ...]:
    terms = re.sub(r"[\d.]+", lambda number: f"D('{number[0]}')", found["sum"].strip())
    return (f"from decimal import Decimal as D\nprint({terms})",)


def _of_math(function: str) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    return lambda found: (
        f"import math\nprint(math.{function}({found['numbers']}))",
        f"from math import {function}\nprint({function}({found['numbers']}))",
    )


def _primes(found: Mapping[str, str]) -> tuple[str, ...]:
    steps = "f = []\nd = 2\nwhile n > 1:\n    while n % d == 0:\n        f.append(d)\n        n //= d\n    d += 1"
    return (f'n = {found["n"]}\n{steps}\nprint(" {_TIMES} ".join(map(str, f)))',)


def _count_primes(found: Mapping[str, str]) -> tuple[str, ...]:
    test = "def prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))"
    return (f"{test}\nprint(sum(map(prime, range({found['low']}, {found['high']} + 1))))",)


def _base(found: Mapping[str, str]) -> tuple[str, ...]:
    source, target = (_BASES.get(found[name], found[name].removeprefix("base-")) for name in ("source", "target"))
    read = f'n = int("{found["digits"]}", {source})'
    if target in ("2", "16"):
        return (f'{read}\nprint(format(n, "{"b" if target == "2" else "x"}"))',)
    step = f'    s = "{_DIGITS}"[n % {target}] + s\n    n //= {target}'
    return (f'{read}\ns = ""\nwhile n:\n{step}\nprint(s or "0")',)


def _fraction(found: Mapping[str, str]) -> tuple[str, ...]:
    """The frame of the fraction stays around it."""
    numerator, denominator = re.findall(r"\d+", found["fraction"])
    frame = re.sub(r"\d+", "{}", re.sub(r"([{}])", r"\1\1", found["fraction"]))
    read = f"from fractions import Fraction\nf = Fraction({numerator}, {denominator})"
    return (f"{read}\nprint({frame!r}.format(f.numerator, f.denominator))",)


def _equation(found: Mapping[str, str]) -> tuple[str, ...]:
    name = re.findall("[a-z]", found["left"])[0]
    loop = f"for {name} in range(-10000, 10001):"
    return (f"{loop}\n    if {found['left']} == {found['right']}:\n        print({name})\n        break",)


RECIPES: Mapping[str, Recipe] = {
    "basic_arithmetic": Recipe(rf"Calculate {_SUM}\.", _even_sum),
    "base_conversion": Recipe(
        r"the (?P<source>binary|hexadecimal|base-\d+) number (?P<digits>[0-9a-z]+) to "
        r"(?P<target>binary|hexadecimal|base-\d+)",
        _base,
    ),
    "bitwise_arithmetic": Recipe(
        r"value\.\s+(?P<sum>[-+*<>()x0-9a-f ]+)", lambda found: (f"print(hex({found['sum'].strip()}))",)
    ),
    "chain_sum": Recipe(rf"problem: {_SUM} =", _sum),
    "count_bits": Recipe(
        r"number (?P<n>\d+)",
        lambda found: (f'print(bin({found["n"]}).count("1"))', f"print(({found['n']}).bit_count())"),
    ),
    "count_primes": Recipe(r"between (?P<low>\d+) and (?P<high>\d+)", _count_primes),
    "decimal_chain_sum": Recipe(rf"problem: {_SUM} =", _decimal_sum),
    "fraction_simplification": Recipe(r"fraction (?P<fraction>\S*\d\S*) to its", _fraction),
    "gcd": Recipe(rf"these numbers: {_NUMBERS}", _of_math("gcd")),
    "lcm": Recipe(rf"these numbers: {_NUMBERS}", _of_math("lcm")),
    "letter_counting": Recipe(
        r'letter "(?P<letter>\w)" appear in the text: "(?P<text>[^"]*)"',
        lambda found: (f"print({found['text']!r}.lower().count({found['letter']!r}))",),
    ),
    "prime_factorization": Recipe(r"factorization of (?P<n>\d+)", _primes),
    "products": Recipe(rf"multiplication: {_SUM}\.", _sum),
    "simple_equations": Recipe(
        rf"(?P<left>{_TERM}(?: ?[-+*/] ?{_TERM})*) = (?P<right>-?\d+)",
        _equation,
    ),
    "spell_backward": Recipe(
        r"nus\): (?P<word>\w+)",
        lambda found: (f"print({found['word']!r}[::-1])", f'print("".join(reversed({found["word"]!r})))'),
    ),
}


def programs(kind: str, text: str) -> tuple[str, ...]:
    """The programs that solve a problem of a kind; none where its text does not say what they need."""
    recipe = RECIPES.get(kind)
    found = re.search(recipe.pattern, text) if recipe else None
    return recipe.write({name: value or "" for name, value in found.groupdict().items()}) if recipe and found else ()


def misread(kind: str, text: str, rng: random.Random) -> str:
    """The text as it is misread: in what its program is derived from a number is another, or letters are missing."""
    found = re.search(RECIPES[kind].pattern, text)
    assert found is not None
    spans = [found.span(name) for name, value in found.groupdict().items() if value]
    start, end = rng.choice(spans)
    numbers = list(re.finditer(r"\d+", text[start:end]))
    if numbers:
        number = rng.choice(numbers)
        other = max(2, int(number[0]) + rng.choice((-10, -2, -1, 1, 2, 10)))
        return f"{text[: start + number.start()]}{other}{text[start + number.end() :]}"
    place = rng.randrange(start, end)
    return text[:place] + text[min(place + 5, max(end - 1, place)) :]


def broken(program: str, rng: random.Random) -> str:
    """The program with a mistake that Python tells of."""
    lines = program.split("\n")
    if lines[0].startswith(("import ", "from ")) and rng.random() < 0.5:
        return "\n".join(lines[1:])
    return program.replace("print(", rng.choice(("prnt(", "Print(")))
