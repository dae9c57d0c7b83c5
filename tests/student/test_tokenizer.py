"""The tokenizer: words that are one token, and no text that is lost."""

from __future__ import annotations

from typing import Any

from helpers.student import PARAMS, Demo

from synthagent.student.tokenizer import render_plain, train_tokenizer
from synthagent.teacher.domains import load_vocabulary


def test_every_word_of_the_lexicon_is_one_token_alone_and_in_a_tools_name(tokenizer: Any) -> None:
    vocabulary = load_vocabulary()
    for word in vocabulary.lexicon:
        assert len(tokenizer.tokenize(word)) == 1, word
        assert len(tokenizer.tokenize(f"_{word}")) == 1, word
    for name in vocabulary.names:
        assert len(tokenizer.tokenize(name)) == 1, name


def test_a_name_is_the_same_token_wherever_it_stands(tokenizer: Any) -> None:
    for word in load_vocabulary().lexicon[:40]:
        for text in (
            f"What is the {word}?",
            f"The {word} is Mon.",
            f"Please change my {word} and mail it.",
            f"({word})",
        ):
            assert word in words_of(tokenizer, text), text
    assert words_of(tokenizer, "Unless you saw status active, never move")[4:] == [
        "\u0120",
        "active",
        ",\u0120",
        "never\u0120",
        "move",
    ]


def test_a_word_before_its_verdict_is_a_token_apart(tokenizer: Any) -> None:
    words = words_of(tokenizer, "active yes, frozen no.\n")
    assert words == ["active\u0120", "yes", ",\u0120", "frozen\u0120", "no", ".\u010a"]
    assert words_of(tokenizer, "no, leave it") == ["no", ",\u0120", "leave", "\u0120it"]


def words_of(tokenizer: Any, text: str) -> list[str]:
    """The parts of a text across which no token reaches; a space is written as byte-level BPE writes it."""
    return [word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def test_any_text_survives_the_tokenizer(tokenizer: Any) -> None:
    for text in (
        "Zo\u00eb \u5317\u4eac",
        "\U0001f469\u200d\U0001f4bb",
        'a"b\\c\n\n',
        "  two  spaces ",
        "K17_x9",
        "\x07",
    ):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text


def test_the_tokenizer_depends_on_its_texts_alone(tokenizer: Any, demos: list[Demo]) -> None:
    vocabulary = load_vocabulary()
    texts = [render_plain(demo.messages) for demo in demos]
    again = train_tokenizer(texts, (*vocabulary.lexicon, *vocabulary.names), PARAMS.vocab_size)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
