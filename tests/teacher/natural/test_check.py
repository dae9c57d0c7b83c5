"""`synthagent domain check`: each fault of a domain file is one line with place and remedy; a good one is shown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from helpers.projects import ROOT, assert_one_message, synthagent
from typer.testing import CliRunner

from synthagent.cli import app
from synthagent.teacher.natural.check import check_text

DENTIST = (ROOT / "synthagent" / "teacher" / "natural" / "domains" / "dentist.yaml").read_text()
BEGINS = "about: when the visit begins"


def with_(old: str, new: str) -> str:
    """The dentist's file with one thing changed."""
    assert DENTIST.count(old) == 1, old
    return DENTIST.replace(old, new)


def and_with(field: str) -> str:
    """The dentist's file with one more field, `more`, of its thing."""
    return with_("actions:\n", f'      - {{name: more, say: ["and {{}}"], {field}}}\nactions:\n')


def write(folder: Path, content: str | bytes) -> Path:
    """A domain file with this content."""
    file = folder / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def checked(folder: Path, content: str | bytes) -> subprocess.CompletedProcess[str]:
    """What a process of the command says to a file with this content."""
    return synthagent("domain", "check", write(folder, content).name, cwd=folder)


FAULTS = {
    "a missing key": (with_("split: train\n", ""), "mine.yaml:1: split: missing key; add it"),
    "a missing key inside": (
        with_(", about: day of the visit,", ","),
        "mine.yaml:11: things.appointment.fields.day.about: missing key; add it: what it is, as a schema describes it",
    ),
    "an unknown key": (
        with_("    owner: patient\n", "    ownr: patient\n"),
        "mine.yaml:7: things.appointment.ownr: unknown key; did you mean owner?",
    ),
    "an unknown kind": (
        with_("name: day, kind: date, about: day of the visit", "name: day, kind: dates, about: day of the visit"),
        "mine.yaml:11: things.appointment.fields.day.kind: unknown kind dates; use whole, number,",
    ),
    "a value list with one value": (
        with_("of: [cleaning, filling, root canal, whitening, check-up]", "of: [cleaning]"),
        "mine.yaml:13: things.appointment.fields.treatment: field 'treatment': option needs `of` with at least two",
    ),
    "a text with a slot that is none": (
        and_with("kind: text, about: a word, of: [plain, 'the {Nuon}']"),
        "things.appointment.fields.more.of.2: there is no slot {Nuon}; write one of noun, Noun,",
    ),
    "an article before a word that is drawn": (
        with_(
            "actions:\n", '      - {name: more, kind: text, about: a, say: ["a {}"], of: ["{Noun}", "b"]}\nactions:\n'
        ),
        "things.appointment.fields.more.say.1: the article does not fit {Noun}; say it without, or replace the value",
    ),
    "two equal values": (
        with_("of: [room A, room B, room C]", "of: [room A, room B, room A]"),
        "lookups.free chair.gives.room.of: room A: two values are equal; remove one",
    ),
    "10,000 values": (
        with_("of: [room A, room B, room C]", f"of: [{', '.join(f'room {number}' for number in range(10_000))}]"),
        "lookups.free chair.gives.room.of: 10,000 values, and 200 are allowed; keep those that",
    ),
    "a verb without a past form": (
        with_("verb: cancel, past: cancelled", "verb: cancel"),
        "mine.yaml:18: actions.cancel.past: the verb cancel has no past form; add `past:`",
    ),
    "an empty past form": (
        with_("past: looked up", 'past: ""'),
        "mine.yaml:24: lookups.treatment price.past: the verb look up has no past form; write it",
    ),
    "a past form that is the verb": (
        with_("verb: move, past: moved", "verb: move, past: move"),
        "actions.move.past: the verb move has no past form; write it as it stands after `was`",
    ),
    "two equal statuses": (
        with_("[confirmed, waiting, overdue, on hold]", "[confirmed, waiting, overdue, waiting]"),
        "mine.yaml:8: things.appointment.statuses: waiting: two statuses are equal; rename or remove one",
    ),
    "too few statuses": (
        with_("[confirmed, waiting, overdue, on hold]", "[confirmed, waiting]"),
        "mine.yaml:8: things.appointment.statuses: at least 3 are wanted; add more",
    ),
    "a status that changes nothing": (
        with_("sets: cancelled", "sets: waiting"),
        "actions.cancel.sets: appointment may be waiting at the start, so nothing would change; use another status",
    ),
    "a noun that is not ASCII": (
        with_("name: treatment price", "name: prix du contrôle"),
        "mine.yaml:25: lookups.prix du contrôle.name: prix du contrôle is no name; use ASCII letters",
    ),
    "a verb that is not ASCII": (
        with_("verb: extend,", "verb: étendre,"),
        "étendre is no verb here; use ASCII letters",
    ),
    "a field's name that is not ASCII": (with_("name: deposit,", "name: dépôt,"), "dépôt is no name; use ASCII"),
    "81 lines": (DENTIST + "# more\n" * (81 - len(DENTIST.splitlines())), "mine.yaml:81: 81 lines, and 80 are allowed"),
    "no YAML": (with_("name: dentist", "name: {dentist"), "not YAML: "),
    "words that have to be quoted": (with_('["for a {}"]', "[for a {}]"), "not YAML: "),
    "a number too long to read": (with_("low: 15,", f"low: {'9' * 5000},"), "mine.yaml: not YAML: "),
    "no mapping": ("- name: dentist\n", "mine.yaml:1: not a mapping; begin with `name:`"),
    "an empty file": ("", "mine.yaml:1: not a mapping; "),
    "brackets without end": ("[" * 5000, "mine.yaml: nested too deeply; "),
    "no UTF-8": (b"name: \xff\xfe", "mine.yaml: not UTF-8; save it in that encoding"),
    "a file without end": ("name: dentist\n" + "#" * 400_000, "mine.yaml: more than 150,000 characters; drop values"),
    "a key twice": (DENTIST + "about: another place\n", "mine.yaml:43: about: key twice; remove one"),
    "an alias": (
        with_("[confirmed, waiting, overdue, on hold]", "&all [confirmed, waiting, *all]"),
        "mine.yaml:8: an anchor with an alias (& and *); write the words out",
    ),
    "a word that YAML reads as a flag": (
        with_("of: [room A, room B, room C]", "of: [on, room B, room C]"),
        "gives.room.of.1: words are wanted, and YAML reads True as something else; put it into quotes",
    ),
    "a thing that is not there": (
        with_("verb: extend, past: extended, thing: appointment", "verb: extend, past: extended, thing: visit"),
        "mine.yaml:20: actions.extend.thing: there is no thing visit; there is appointment",
    ),
    "a field that is not there": (
        with_("changes: [length]", "changes: [duration]"),
        "mine.yaml:20: actions.extend.changes.1: appointment has no field duration; there are patient, day,",
    ),
    "an action that does two things": (
        with_("changes: [length]", "changes: [length], sets: long"),
        "mine.yaml:20: actions.extend: one of `sets`, `changes`, `needs` is wanted, and only one; split it",
    ),
    "an optional parameter without a default": (
        with_("say: [with insurance], default: false", "say: [with insurance]"),
        "mine.yaml:30: lookups.treatment price.may.insured: it may be left out, so it needs a default; add `default:`",
    ),
    "a default of another type": (
        with_("say: [with insurance], default: false", 'say: [with insurance], default: "no"'),
        "insured.default: the default of a flag is true or false, but it is no; change or remove it",
    ),
    "bounds the wrong way round": (with_("low: 40, high: 2000", "low: 4000, high: 2000"), "needs `low` below `high`; "),
    "bounds without an end": (with_("low: 40, high: 2000", "low: 40, high: .inf"), "are to be finite; "),
    "a step wider than the bounds": (
        with_("low: 20, high: 200, step: 5", "low: 20, high: 200, step: 150"),
        "deposit.step: less than two multiples of 150 lie from 20 to 200; make it smaller",
    ),
    "words without a place for the value": (
        with_('["lasting {}", "of {}"]', '["lasting {}", long]'),
        "fields.length: field 'length': say 'long': 1 times {} is wanted; mend it here",
    ),
    "a unit said twice": (
        with_('"lasting {}"', '"lasting {} minutes"'),
        "fields.length.say.1: the value says minutes itself; leave the word out",
    ),
    "an article that does not fit": (
        with_("root canal, whitening, check-up", "root canal, whitening, implant"),
        "fields.treatment.say.1: the article does not fit implant; say it without, or replace the value",
    ),
    "a comparison with a field that is not there": (
        with_(BEGINS, f"after: doors, {BEGINS}"),
        "fields.start time.after: there is no field doors here; name one of patient, day,",
    ),
    "a comparison with itself": (
        with_(BEGINS, f"after: start time, {BEGINS}"),
        "fields.start time.after: a field cannot be compared with itself; name another one",
    ),
    "a comparison of different kinds": (
        with_(BEGINS, f"after: day, {BEGINS}"),
        "fields.start time.after: day is of another kind, date, and this is time; compare fields of one kind",
    ),
    "a comparison of what has no order": (
        and_with("kind: person, about: who comes too, after: patient"),
        "fields.more.after: kind person has no order here; use `after` of date, time, or `unlike`",
    ),
    "a comparison without room": (
        and_with("kind: money, about: a fee, low: 200, high: 900, below: deposit"),
        "fields.more.below: some value of it or of deposit would have no room; let `low` and `high` lie below those",
    ),
    "a comparison of different units": (
        and_with("kind: duration, about: a rest, low: 1, high: 20, unit: days, below: length"),
        "fields.more.below: its unit is another one than that of length; write both in the same unit",
    ),
    "a circle of comparisons": (
        and_with("kind: time, about: the end, after: start time").replace(BEGINS, f"after: more, {BEGINS}"),
        "fields.start time.after: start time would have to be above itself, through other fields; remove one of them",
    ),
    "a comparison that is a list": (
        with_(BEGINS, f"after: [day], {BEGINS}"),
        "fields.start time.after: input should be a valid string, but it is ['day']; write it as the domains",
    ),
    "things that nobody owns": (
        with_("    owner: patient\n", ""),
        "mine.yaml:16: actions: none does something with a thing that has an `owner`; add `owner:` to a thing",
    ),
    "numbers for words": (
        with_("of: [room A, room B, room C]", "of: [1, room B, room C]"),
        "gives.room.of.1: words are wanted, and YAML reads 1 as something else; put it into quotes",
    ),
    "two parameters of one name": (
        with_("name: number of teeth,", "name: treatment,"),
        "lookups.treatment price: treatment: two parameters have the same name; rename one",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_one_line_with_place_and_remedy(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, expected = FAULTS[what]
    monkeypatch.chdir(tmp_path)
    finished = CliRunner().invoke(app, ["domain", "check", write(tmp_path, content).name])
    assert (finished.exit_code, finished.stderr) == (1, "")
    (line,) = finished.stdout.splitlines()
    assert line.startswith("mine.yaml:")
    assert expected in line
    assert "; " in line, "a remedy"
    assert len(line) < 400


def test_several_faults_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    broken = with_("split: train", "split: test").replace("kind: money, about: what it", "kind: cash, about: what it")
    lines = checked(tmp_path, broken.replace("verb: move, past: moved", "verb: move")).stdout.splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "19", "32"]


def test_of_very_many_faults_the_first_are_told(tmp_path: Path) -> None:
    values = ", ".join(f"{number}" for number in range(5_000))
    lines = checked(tmp_path, with_("of: [room A, room B, room C]", f"of: [{values}]")).stdout.splitlines()
    assert len(lines) == 41
    assert lines[-1] == "mine.yaml: 4,960 more faults; mend these first"


def test_a_file_that_is_not_there_is_told_in_one_message(tmp_path: Path) -> None:
    assert_one_message(synthagent("domain", "check", "none.yaml", cwd=tmp_path), "none.yaml: No such file", "; name a ")
    assert_one_message(synthagent("domain", "check", ".", cwd=tmp_path), "Is a directory")


def test_words_of_a_file_cannot_command_the_terminal(tmp_path: Path) -> None:
    finished = checked(tmp_path, with_("name: dentist", 'name: "dent\\e[31m\\nist\\u202e"'))
    assert finished.returncode == 1
    assert not {"\x1b", "\u202e"} & set(finished.stdout)
    assert len(finished.stdout.splitlines()) == 1


def test_values_need_not_be_ascii() -> None:
    assert not check_text(with_("of: [room A, room B, room C]", "of: [salle bleue, café, 会議室]")).faults


def test_a_good_file_is_shown(tmp_path: Path) -> None:
    finished = checked(tmp_path, DENTIST)
    assert finished.returncode == 0
    assert finished.stderr == ""
    for line in (
        "dentist (train): the front desk of a dental clinic",
        "  action  move appointment: changes day, start time",
        "  action  book appointment: makes one, from patient, day, start time, treatment, [length], [text reminder]",
        "  lookup  look up treatment price: treatment, number of teeth, [insured] -> price",
    ):
        assert line in finished.stdout.splitlines()
    assert (
        "kinds   8 of 18; not used: number, share, place, address, email, phone, code, text, list, numbers"
        in finished.stdout
    )
