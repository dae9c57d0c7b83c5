"""What TRL knows of a model by its chat template. Importing TRL takes seconds: asked only where nothing else helps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jinja2 import TemplateError


def training_template(tokenizer: Any) -> str | None:
    """The template that TRL puts in the place of one that writes earlier turns anew; None if it knows none."""
    from trl.chat_template_utils import get_training_chat_template

    try:
        template: str | None = get_training_chat_template(tokenizer)
    except (ValueError, TypeError, TemplateError):
        return None
    return template


def response_template(tokenizer: Any) -> dict[str, Any] | None:
    """How TRL reads the turns of a model whose tokenizer does not say; None if it does not know."""
    from trl.chat_template_utils import add_response_schema

    like_it = SimpleNamespace(chat_template=tokenizer.chat_template)  # it would be written to
    try:
        template: dict[str, Any] | None = add_response_schema(like_it).response_template
    except ValueError:
        return None
    return template
