"""The domains that ship: enough of them, each valid, all kinds of values, unseen nouns, words that read well."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from helpers.projects import ROOT

from synthagent.teacher.natural.check import MOST_LINES, check_file
from synthagent.teacher.natural.domain import Field, FieldKind, NaturalDomain
from synthagent.teacher.natural.library import load_domains

FILES = sorted((ROOT / "synthagent" / "teacher" / "natural" / "domains").glob("*.yaml"))
DOMAINS = load_domains()
SURFACES = {
    "whole": "12",
    "number": "2.5",
    "share": "15 percent",
    "money": "120 euros",
    "date": "next Friday",
    "time": "half past six in the evening",
    "duration": "an hour and a half",
    "person": "Anna Berg",
    "place": "Leeds",
    "address": "12 Mill Lane, 4051 Basel",
    "email": "anna.berg@example.org",
    "phone": "+49 30 123456",
    "code": "KX-2041",
}


def fields_of(domain: NaturalDomain) -> Iterator[Field]:
    for thing in domain.things:
        yield from thing.fields
    for lookup in domain.lookups:
        yield from (*lookup.needs, *lookup.may, *lookup.gives)


def nouns_of(domain: NaturalDomain) -> set[str]:
    """The words of what a domain has and looks up, in the singular as far as an `s` tells."""
    names = [*(thing.name for thing in domain.things), *(lookup.name for lookup in domain.lookups)]
    return {word.removesuffix("s") for name in names for word in re.findall(r"\w+", name.lower())}


def test_there_are_thirty_training_domains_and_eight_that_training_never_sees() -> None:
    assert Counter(domain.split for domain in DOMAINS) == {"train": 30, "unseen_domain": 8}
    assert [domain.name for domain in DOMAINS] == [file.stem for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_is_without_a_fault(file: Path) -> None:
    assert check_file(file).faults == ()
    assert len(file.read_text().splitlines()) <= MOST_LINES


def test_every_kind_of_value_occurs_in_at_least_eight_domains() -> None:
    where = defaultdict(set)
    for domain in DOMAINS:
        for field in fields_of(domain):
            where[field.kind].add(domain.name)
    assert {kind: len(where[kind]) for kind in get_args(FieldKind) if len(where[kind]) < 8} == {}


def test_no_noun_of_an_unseen_domain_is_in_a_training_one() -> None:
    known = set().union(*(nouns_of(domain) for domain in DOMAINS if domain.split == "train"))
    assert {domain.name: nouns_of(domain) & known for domain in DOMAINS if domain.split != "train"} == {
        domain.name: set() for domain in DOMAINS if domain.split != "train"
    }


def test_a_keyword_is_the_beginning_of_one_word() -> None:
    for domain in DOMAINS:
        assert len(domain.keywords) >= 3, domain.name
        assert all(re.fullmatch(r"[a-z]+", keyword) for keyword in domain.keywords), domain.keywords


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_what_is_said_after_a_noun_has_no_word_twice_in_a_row_and_holds_in_any_order(domain: NaturalDomain) -> None:
    for field in fields_of(domain):
        surfaces = field.of or (SURFACES.get(field.kind, ""),)
        for say in field.say:
            assert not say.startswith(("and ", "or ", ", ")), (field.name, say)
            for surface in surfaces:
                words = say.replace("{}", surface).lower().split()
                assert all(one != other for one, other in pairwise(words)), words


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_what_a_request_says_of_a_value_begins_with_a_word(domain: NaturalDomain) -> None:
    asked = [field for lookup in domain.lookups for field in (*lookup.needs, *lookup.may)]
    for field in (*asked, *(field for thing in domain.things for field in thing.fields)):
        assert not any(say.startswith("{}") for say in field.say), (field.name, field.say)


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_every_thing_can_be_made_and_changed(domain: NaturalDomain) -> None:
    for thing in domain.things:
        actions = [action for action in domain.actions if action.thing == thing.name]
        assert any(action.needs for action in actions), thing.name
        assert any(action.sets or action.changes for action in actions), thing.name


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_a_unit_is_said_in_all_wordings_or_in_none(domain: NaturalDomain) -> None:
    for field in fields_of(domain):
        if field.unit and field.kind in ("whole", "number"):
            assert len({field.unit in say for say in field.say}) == 1, (field.name, field.say)
