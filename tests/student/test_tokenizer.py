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
