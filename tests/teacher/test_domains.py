"""Domains and word lists: enough of them, one for every persona, and words that do not get in each other's way."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.projects import ROOT
from helpers.tasks import a_task
from pydantic import ValidationError

from synthagent.judging.proofs import prove
from synthagent.stages.personas import built_in
from synthagent.teacher import domains as domains_module
from synthagent.teacher.domains import BLEND, STATUSES, Domain, blend, domain_of, load_vocabulary, read_lines

DOMAINS = ROOT / "synthagent" / "teacher" / "domains"
VOCABULARY = load_vocabulary()


def test_there_are_at_least_thirteen_training_domains_and_four_that_training_never_sees() -> None:
    assert len({domain.name for domain in VOCABULARY.train}) >= 13
    assert len({domain.name for domain in VOCABULARY.unseen}) == 4
    assert not {domain.name for domain in VOCABULARY.train} & {domain.name for domain in VOCABULARY.unseen}


def test_a_persona_leads_to_a_domain_of_its_own_field_of_life() -> None:
    rng = random.Random(0)
    assert {domain_of("a librarian fond of reading", VOCABULARY.train, rng).name for _ in range(5)} == {"library"}
    drawn = {domain_of("qqq", VOCABULARY.train, rng).name for _ in range(200)}
    assert len(drawn) > 5


def test_every_training_domain_is_reached_by_the_built_in_personas() -> None:
    rng = random.Random(0)
    reached = {domain_of(persona.text, VOCABULARY.train, rng).name for persona in built_in() for _ in range(3)}
    assert reached == {domain.name for domain in VOCABULARY.train}


def test_blended_domains_differ_and_use_a_word_in_one_role_only() -> None:
    seen = set()
    for seed in range(100):
        made = blend(VOCABULARY, random.Random(seed))
        seen.add(made.nouns)
        words = [
            *made.nouns,
            *made.persons,
            *made.choice.slots,
            *made.choice.values,
            *STATUSES,
            *made.extras,
        ]
        assert len(words) == len(set(words))
        assert made.name == BLEND
        assert len(made.actions) >= 2
        acts = [word for action in made.actions for word in {*action.verbs, action.done}]
        assert len(acts) == len(set(acts))
        assert not set(acts) & set(words)
    assert len(seen) == 100


@pytest.fixture
def copied_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The teacher's data files, in a folder that a test may write to."""
    folder = tmp_path / "teacher"
    shutil.copytree(DOMAINS.parent, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(domains_module, "_FILES", folder)
    return folder


def test_adding_a_domain_is_adding_one_file(copied_files: Path) -> None:
    library = yaml.safe_load((DOMAINS / "library.yaml").read_text())
    bakery = library | {"name": "bakery", "nouns": ["cake"], "persons": ["baker"], "keywords": ["zymurg"]}
    (copied_files / "domains" / "bakery.yaml").write_text(yaml.safe_dump(bakery))
    vocabulary = load_vocabulary()
    assert len(vocabulary.train) == len(VOCABULARY.train) + 1
    domain = domain_of("a zymurgist", vocabulary.train, random.Random(0))
    assert domain.name == "bakery"
    for level in (1, 2, 3):
        task = a_task(domain, level, 0)
        assert "cake" in task.instruction
        assert all(prove(task).holds.values())


def test_a_domain_file_with_a_misspelt_key_is_refused(copied_files: Path) -> None:
    library = yaml.safe_load((DOMAINS / "library.yaml").read_text())
    (copied_files / "domains" / "bakery.yaml").write_text(yaml.safe_dump(library | {"nuons": ["cake"]}))
    with pytest.raises(ValidationError, match="nuons"):
        load_vocabulary()


@pytest.mark.parametrize("domain", [*VOCABULARY.train, *VOCABULARY.unseen], ids=lambda domain: domain.name)
def test_the_words_of_a_domain_do_not_get_in_each_others_way(domain: Domain) -> None:
    verbs = [verb for action in domain.actions for verb in action.verbs]
    assert len(verbs) == len(set(verbs))
    assert not set(verbs) & set(domain.extras)
    assert not {word for action in domain.actions for word in (*action.verbs, action.done)} & set(STATUSES)
    assert len(set(domain.choice.values)) == len(domain.choice.values) >= 2


@pytest.mark.parametrize("name", ["lexicon.txt", "names.txt", "personas.txt"])
def test_word_lists_have_no_line_twice(name: str) -> None:
    lines = read_lines(name)
    assert len(lines) == len(set(lines)) > 20
