"""The embedded teacher: every domain, every level; what it writes is varied, sound and reproducible."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from helpers.projects import ROOT, default_params
from helpers.tasks import accepted_tasks
from pydantic import ValidationError

from synthagent.judging.proofs import prove
from synthagent.records import Called, Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher import domains as domains_module
from synthagent.teacher.compose import compose
from synthagent.teacher.domains import BLEND, Domain, blend, domain_of, load_vocabulary, read_lines
from synthagent.teacher.plan import FEATURES, RULES, features_of, make_plan
from synthagent.teacher.wording import role_of

DOMAINS = ROOT / "synthagent" / "teacher" / "domains"
VOCABULARY = load_vocabulary()


def a_task(domain: Domain, level: int, seed: int, persona: str = "a baker") -> Task:
    """A task of one domain and level, as the stage would make it."""
    draft = compose(domain, persona, level, VOCABULARY.names, random.Random(f"{domain.name}-{level}-{seed}"))
    return Task(
        id=f"{domain.name}-{domain.nouns[0]}-{level}-{seed}",
        persona_id="p",
        domain=domain.name,
        difficulty=level,
        split="train",
        workflow=(),
        world_kind="executable",
        **{name: getattr(draft, name) for name in ("instruction", "facts", "tools", "distractors", "constraints")},
        world=draft.world,
        reference=draft.reference,
    )


@lru_cache
def tasks_of_all_domains() -> tuple[Task, ...]:
    blends = tuple(blend(VOCABULARY, random.Random(n)) for n in range(8))
    every = (*VOCABULARY.train, *VOCABULARY.unseen, *blends)
    return tuple(a_task(domain, level, seed) for domain in every for level in (1, 2, 3) for seed in range(7))


def test_there_are_at_least_thirteen_training_domains_and_four_that_training_never_sees() -> None:
    assert len({domain.name for domain in VOCABULARY.train}) >= 13
    assert len({domain.name for domain in VOCABULARY.unseen}) == 4
    assert not {domain.name for domain in VOCABULARY.train} & {domain.name for domain in VOCABULARY.unseen}


def test_every_proof_holds_in_every_domain_at_every_level() -> None:
    failed = {
        task.id: proved.detail for task in tasks_of_all_domains() if not all((proved := prove(task)).holds.values())
    }
    assert failed == {}


def test_a_task_has_three_to_five_tools_that_matter_and_one_or_two_that_do_not() -> None:
    for task in tasks_of_all_domains():
        names = {tool.name for tool in task.tools}
        assert len(names) == len(task.tools)
        assert set(task.distractors) < names
        assert 1 <= len(task.distractors) <= 2
        assert 3 <= len(names) - len(task.distractors) <= 5


def test_the_reference_uses_the_tools_that_matter_and_no_distractor() -> None:
    for task in tasks_of_all_domains():
        used = {step.tool for step in task.reference if step.kind == "call"}
        assert used == {tool.name for tool in task.tools} - set(task.distractors)


def test_a_task_has_three_to_seven_milestones() -> None:
    for task in tasks_of_all_domains():
        assert 3 <= len(prove(task).extracted.workflow) <= 7, task.id


def test_a_task_has_something_that_only_the_user_knows() -> None:
    for task in tasks_of_all_domains():
        slots = [fact.slot for fact in task.facts]
        assert 1 <= len(slots) == len(set(slots))
        assert {step.slot for step in task.reference if step.kind == "ask"} <= set(slots)


def test_every_tool_says_what_it_takes_and_gives_and_the_world_can_run_it() -> None:
    for task in tasks_of_all_domains():
        for tool in task.tools:
            assert tool.description
            assert tool.parameters["additionalProperties"] is False
            assert tuple(tool.parameters["required"]) == tool.arguments
            assert tool.outputs
        assert set(task.world.effects) == {tool.name for tool in task.tools}
        assert set(task.world.rules) == {line.id for line in task.constraints}


def kind_of(text: str) -> str:
    """Which of the four kinds a policy line is, by its words."""
    return next(
        kind
        for words, kind in (
            ("did confirm", "confirm"),
            ("you saw", "check"),
            ("price", "limit"),
            ("status is", "status"),
        )
        if words in text
    )


def test_four_kinds_of_constraint_occur() -> None:
    kinds = Counter(
        kind_of(line.text) for task in tasks_of_all_domains() for line in task.constraints if line.id == "live"
    )
    assert set(kinds) == set(RULES)
    assert min(kinds.values()) >= 20


def test_a_policy_line_and_its_check_are_about_the_same_tool_and_value() -> None:
    for task in tasks_of_all_domains():
        for line in task.constraints:
            rule = task.world.rules[line.id]
            assert rule.tool in line.text
            assert (rule.told is not None) == (kind_of(line.text) == "confirm")
            if rule.seen is not None:
                assert isinstance(rule.seen, Called)
                assert all(str(condition.value) in line.text for condition in rule.seen.result)


def test_a_level_has_the_features_it_is_meant_to_have() -> None:
    draws = [features_of(level, random.Random(seed)) for level in (1, 2, 3) for seed in range(50)]
    assert {len(features) for features in draws[:50]} == {0}
    assert {len(features) for features in draws[50:100]} == {2, 3}
    assert set().union(*draws[50:100]) == set(FEATURES)
    assert set(draws[100:]) == {frozenset(FEATURES)}


def test_the_first_level_has_none_of_what_makes_the_third_hard() -> None:
    easy, hard = ([make_plan(level, random.Random(seed)) for seed in range(200)] for level in (1, 3))
    assert not any(p.decoys or p.missing or p.receipt or p.contact or p.reports for p in easy)
    assert {p.rule for p in easy} == {"check", "confirm"}
    assert all(p.decoys and p.reports for p in hard)
    assert any(p.missing for p in hard)
    assert {p.rule for p in hard} == set(RULES)


def test_levels_differ_in_length() -> None:
    steps = {level: [len(t.reference) for t in tasks_of_all_domains() if t.difficulty == level] for level in (1, 2, 3)}
    mean = {level: sum(lengths) / len(lengths) for level, lengths in steps.items()}
    assert mean[1] < mean[2] < mean[3]


def test_all_outcomes_occur() -> None:
    outcomes = Counter(
        next(word for word in ("Refuse", "Leave", "Report") if word in task.workflow[-1]) for task in accepted_tasks()
    )
    assert set(outcomes) == {"Refuse", "Leave", "Report"}


def test_the_same_seed_gives_the_same_task_and_another_seed_another() -> None:
    domain = VOCABULARY.train[0]
    assert a_task(domain, 2, 5) == a_task(domain, 2, 5)
    assert a_task(domain, 2, 5).model_dump_json() != a_task(domain, 2, 6).model_dump_json()


def test_a_proposal_depends_on_its_number_and_seed_only() -> None:
    personas, params = tuple(built_in()), default_params().tasks
    alone = propose(41, personas, VOCABULARY, params, seed=3)
    for number in range(41):
        propose(number, personas, VOCABULARY, params, seed=3)
    assert propose(41, personas, load_vocabulary(), params, seed=3) == alone
    assert propose(41, personas, VOCABULARY, params, seed=4).instruction != alone.instruction


@pytest.mark.parametrize(
    ("persona", "role"),
    [
        ("a retired teacher who paints", "a retired teacher"),
        ("A Political Analyst specialized in El Salvador", "a political analyst"),
        ("An avid reader, fond of maps", "an avid reader"),
        ("The owner of a small bakery", "the owner"),
        ("Nurse with two jobs", "a nurse"),
        ("optician", "an optician"),
        ("", ""),
        ("!!! ???", ""),
        ("图书管理员", ""),
    ],
)
def test_a_persona_is_cut_to_a_short_role(persona: str, role: str) -> None:
    assert role_of(persona) == role


def test_the_persona_shows_in_the_instruction() -> None:
    personas = {persona.id: persona for persona in built_in()}
    for task in accepted_tasks():
        role = role_of(personas[task.persona_id].text)
        assert role
        assert f", as I am {role}." in task.instruction


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
            *made.statuses.ok,
            *made.statuses.bad,
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
    assert not set(domain.statuses.ok) & set(domain.statuses.bad)
    done = {action.done for action in domain.actions}
    assert not done & {*domain.statuses.ok, *domain.statuses.bad}
    assert len(set(domain.choice.values)) == len(domain.choice.values) >= 2


@pytest.mark.parametrize("name", ["lexicon.txt", "names.txt", "personas.txt"])
def test_word_lists_have_no_line_twice(name: str) -> None:
    lines = read_lines(name)
    assert len(lines) == len(set(lines)) > 20
