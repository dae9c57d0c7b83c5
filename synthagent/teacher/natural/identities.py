"""People, places, addresses, phone numbers, e-mail addresses and codes: drawn from pools that are made once a process.

The pools come from `faker` with a fixed seed, in languages that write in Latin letters; a task's random generator only
picks from them, so that a value costs microseconds and a task stays the same whatever was drawn before it.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faker import Faker

# Italian is not among them: its lists are sets in faker, and their order changes from process to process.
LOCALES = (
    "en_US",
    "en_GB",
    "de_DE",
    "fr_FR",
    "es_ES",
    "nl_NL",
    "pl_PL",
    "pt_BR",
    "sv_SE",
    "fi_FI",
    "cs_CZ",
    "da_DK",
    "no_NO",
    "hr_HR",
)
_ENGLISH = 2  # the first ones
_STREETS = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "nl_NL", "pl_PL", "sv_SE", "fi_FI", "cs_CZ", "da_DK")
_SURNAMES = ("fr_FR", "pt_BR", "no_NO")  # in which faker calls towns by bare last names
PERSON_FORMS = {"full": 0.7, "last_first": 0.16, "parts": 0.14}
ADDRESS_FORMS = {"parts": 0.6, "line": 0.4}
PHONE_FORMS = {"international": 0.6, "digits": 0.4}
CODE_FORMS = {
    "AA-0000": 0.25,
    "A0000": 0.2,
    "AAA000": 0.1,
    "A00-000": 0.1,
    "AA-000000": 0.15,
    "000000": 0.1,
    "AAAA-00": 0.1,
}
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_HOSTS = ("example.org", "example.com", "example.net", "mail.example", "post.example", "office.example", "home.example")
PLAIN = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "đ": "d", "ð": "d"})
# Country codes and how their numbers are grouped; no code is the start of another.
_GROUPS = {
    "1": (3, 3, 4),
    "44": (4, 6),
    "49": (3, 3, 4),
    "33": (1, 2, 2, 2, 2),
    "34": (3, 3, 3),
    "31": (1, 4, 4),
    "46": (2, 3, 4),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address."""

    street: str
    city: str
    code: str


@dataclass(frozen=True, slots=True)
class Tongue:
    """What a language gives: parts of names, cities, addresses."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    cities: tuple[str, ...]
    addresses: tuple[Address, ...]


@functools.cache
def pools() -> tuple[Tongue, ...]:
    """Return the pools of all languages; made at the first call, in about a second."""
    return tuple(_pool(locale, 20261126 + number) for number, locale in enumerate(LOCALES))


def _pool(locale: str, seed: int) -> Tongue:
    from faker import Faker

    fake = Faker(locale)
    fake.seed_instance(seed)
    first = _different(fake.first_name() for _ in range(160))
    last = _different(fake.last_name() for _ in range(200))
    cities = tuple(
        dict.fromkeys(
            city for _ in range(90) if re.fullmatch(r"[^\W\d_]{3,}(?:[ -][^\W\d_]+)*(?<!Ville)", city := fake.city())
        )
    )
    if locale in _SURNAMES:
        cities = tuple(city for city in cities if city not in _surnames(fake))
    streets = [fake.street_address() for _ in range(240)] if locale in _STREETS else []
    streets = [street for street in streets if re.fullmatch(r"(?:[1-9]\d* )?[^\d/,\n]{4,}?(?: [1-9]\d*)?", street)]
    streets = [street for street in streets if re.search(r"\d", street)]
    addresses = [Address(street, fake.random_element(cities), _code(fake.postcode())) for street in streets]
    return Tongue(first, last, cities, tuple(addresses))


def _surnames(fake: Faker) -> Collection[str]:
    """All last names of a language."""
    return next((provider.last_names for provider in fake.get_providers() if hasattr(provider, "last_names")), ())


def _code(postcode: str) -> str:
    """Return a postal code in which every word has a digit, so that its end shows before the town: `5967ZK`."""
    return postcode if all(re.search(r"\d", word) for word in postcode.split(" ")) else postcode.replace(" ", "")


def _different(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if re.fullmatch(r"[^\W\d_]{2,}(?:-[^\W\d_]{2,})?", name)))


@functools.cache
def _addressed() -> tuple[Address, ...]:
    return tuple(address for pool in pools() for address in pool.addresses)


def draw_tongue(rng: random.Random) -> Tongue:
    """Draw a language. Half of the names are English ones, as the requests are, so that not all are hard to spell."""
    return rng.choice(pools()[:_ENGLISH] if rng.random() < 0.5 else pools())


def draw_person(rng: random.Random) -> str:
    """Draw a name: a first and a last name of one language."""
    pool = draw_tongue(rng)
    return f"{rng.choice(pool.first)} {rng.choice(pool.last)}"


def draw_place(rng: random.Random) -> str:
    """Draw a town."""
    return rng.choice(draw_tongue(rng).cities)


def draw_address(rng: random.Random) -> Address:
    """Draw a postal address."""
    return rng.choice(_addressed())


def draw_email(rng: random.Random) -> str:
    """Draw an e-mail address under a host that is reserved for examples."""
    first, last = _ascii(draw_person(rng)).split()
    local = rng.choice(
        (f"{first}.{last}", f"{first[0]}.{last}", f"{first}_{last}", f"{last}{int(rng.random() * 90) + 10}")
    )
    return f"{local}@{rng.choice(_HOSTS)}"


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text.translate(PLAIN)).encode("ascii", "ignore").decode().lower()


def draw_phone(rng: random.Random) -> str:
    """Draw the digits of a phone number, with the country's code in front."""
    country = rng.choice(tuple(_GROUPS))
    if country == "1":
        return f"1{int(rng.random() * 800) + 200}5550{100 + int(rng.random() * 100)}"
    if country == "44":
        return f"447700900{int(rng.random() * 1000):03d}"
    size = sum(_GROUPS[country])
    return f"{country}{1 + int(rng.random() * 8)}{int(rng.random() * 10 ** (size - 1)):0{size - 1}d}"


def draw_code(form: str, rng: random.Random) -> str:
    """Draw a code whose form is written with A for a letter and 0 for a digit."""
    signs = []
    for sign in form:
        if sign == "A":
            signs.append(_LETTERS[int(rng.random() * len(_LETTERS))])
        else:
            signs.append(str(int(rng.random() * 10)) if sign == "0" else sign)
    return "".join(signs)


def code_pattern(form: str) -> str:
    """Return the pattern that codes of this form fit."""
    runs = re.finditer(r"A+|0+|-", form)
    kinds = {"A": "[A-Z]", "0": "[0-9]"}
    return f"^{''.join(run[0] if run[0] == '-' else f'{kinds[run[0][0]]}{{{len(run[0])}}}' for run in runs)}$"


def write_person(name: str, form: str) -> str | dict[str, str]:
    """Return a name in the form that the schema wants."""
    first, last = name.split(" ")
    match form:
        case "full":
            return name
        case "last_first":
            return f"{last}, {first}"
        case _:
            return {"first_name": first, "last_name": last}


def read_person(value: str | dict[str, str], form: str) -> str:
    """Return the name, first name first."""
    if isinstance(value, dict):
        return f"{value['first_name']} {value['last_name']}"
    if form == "last_first":
        last, first = value.split(", ")
        return f"{first} {last}"
    return value


def write_address(address: Address, form: str) -> str | dict[str, str]:
    """Return an address in the form that the schema wants."""
    if form == "line":
        return f"{address.street}, {address.code} {address.city}"
    return {"street": address.street, "city": address.city, "postal_code": address.code}


def read_address(value: str | dict[str, str]) -> Address:
    """Return the address; in a text the code is what has digits after the last comma."""
    if isinstance(value, dict):
        return Address(value["street"], value["city"], value["postal_code"])
    street, _, rest = value.rpartition(", ")
    words = rest.split(" ")
    cut = next(place for place, word in enumerate(words) if not any(map(str.isdigit, word)))
    return Address(street, " ".join(words[cut:]), " ".join(words[:cut]))


def say_address(address: Address, rng: random.Random) -> str:
    """Return an address as the user says it: all three parts, in this or that order."""
    street, city, code = address.street, address.city, address.code
    return rng.choice((f"{street}, {code} {city}", f"{street} in {city}, postcode {code}", f"{street}, {city}, {code}"))


def say_email(email: str, rng: random.Random) -> str:
    """Return an e-mail address as it is written, sometimes as it is said."""
    if rng.random() < 0.88:
        return email
    local, host = email.split("@")
    local = local.replace(".", " dot ").replace("_", " underscore ")
    return f"{local} at {host.replace('.', ' dot ')}"


def say_phone(number: str, rng: random.Random) -> str:
    """Return a phone number with its country's code, in groups."""
    country = next(code for code in _GROUPS if number.startswith(code))
    groups, rest = [], number[len(country) :]
    for size in _GROUPS[country]:
        groups.append(rest[:size])
        rest = rest[size:]
    sign = rng.choice((" ", " ", "-"))
    if rng.random() < 0.2:
        return f"+{country} ({groups[0]}) {sign.join(groups[1:])}"
    return f"{rng.choice(('+', '+', '00'))}{country}{sign}{sign.join(groups)}"


def say_code(code: str, rng: random.Random) -> str:
    """Return a code as it is written, sometimes in small letters or with a space for the dash."""
    way = rng.random()
    return code if way < 0.7 else code.lower() if way < 0.85 else code.replace("-", " ")


def near_people(name: str, rng: random.Random) -> Iterator[str]:
    """Yield names that share the last or the first name with this one."""
    first, last = name.split(" ")
    for _ in range(2):
        pool = rng.choice(pools())
        yield f"{rng.choice(pool.first)} {last}"
        yield f"{first} {rng.choice(pool.last)}"


def near_addresses(address: Address) -> Iterator[Address]:
    """Yield addresses in the same street: the next number, digits turned round."""
    number = re.search(r"\d+", address.street)
    if number:
        for other in (int(number[0]) + 1, int(number[0]) + 10, int(number[0][::-1]) or 7):
            street = f"{address.street[: number.start()]}{other}{address.street[number.end() :]}"
            yield Address(street, address.city, address.code)


def near_emails(email: str, rng: random.Random) -> Iterator[str]:
    """Yield the same name under another host, then another name under the same."""
    local, host = email.split("@")
    other = draw_email(rng).split("@")
    yield f"{local}@{other[1]}"
    yield f"{other[0]}@{host}"


def near_codes(code: str, rng: random.Random) -> Iterator[str]:
    """Yield codes, or numbers, with two neighbouring digits exchanged, or one other digit."""
    places = [place for place, sign in enumerate(code) if sign.isdigit()][-4:]
    for one, two in itertools.pairwise(places):
        yield f"{code[:one]}{code[two]}{code[one + 1 : two]}{code[one]}{code[two + 1 :]}"
    place = rng.choice(places)
    yield f"{code[:place]}{(int(code[place]) + 1 + int(rng.random() * 8)) % 10}{code[place + 1 :]}"
