"""GRPO's episodes by a served vLLM: each is a coroutine of its own, so that a slow one does not hold the others.

Before each step its weights are left in `.cache/served` and loaded by the server. The tokens and log-probabilities are
the server's; TRL's own truncated importance weights correct for what sets them apart from the trainer's.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from safetensors import SafetensorError

from synthagent.episodes.environment import LoopThread
from synthagent.episodes.episode import Episode
from synthagent.errors import SynthAgentError
from synthagent.params import Params
from synthagent.stage import CACHE
from synthagent.store import directory_written_atomically
from synthagent.student.format import ChatFormat
from synthagent.student.grpo_log import GAP
from synthagent.student.live import TrainingEpisodes
from synthagent.student.processes import is_first, rank
from synthagent.student.sampler import Sampled, begun, observe
from synthagent.student.server import PolicyServer, Weights

FOLDER = CACHE / "served"
CORRECTION: dict[
    str, Any
] = {  # of TRL: each token's loss is weighed by trainer's / server's probability, at most so much
    "vllm_importance_sampling_correction": True,
    "vllm_importance_sampling_mode": "token_truncate",
    "vllm_importance_sampling_clip_max": 2.0,
}
_MOST_APART = 0.5  # a token, on average: SmolLM2 is .00001 apart in float32, .05 in bfloat16; more is another model


class Served:
    """Generation by a server, for one trainer. Stands where TRL has its own vLLM client (`trainer.vllm_generation`)."""

    def __init__(self, params: Params, server: PolicyServer, loop: LoopThread) -> None:
        self._params, self._server, self._loop = params, server, loop
        self._run_id = uuid.uuid4().hex[:8]
        self._calls = 0
        self._trainer: Any = None
        self._last: Weights | None = None

    def attach(self, trainer: Any) -> None:
        """Have a GRPOTrainer with a `rollout_func` publish its weights each step, and correct for the gap.

        With `use_vllm` in its config, TRL would import vLLM and talk to a server of its own kind.
        """
        self._trainer = trainer
        trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, self, -1

    def sync_weights(self) -> None:
        """Publish the weights of the step; TRL calls it before the first episodes of each, in every process.

        Raises:
            StoreError: the disk refuses.
            EndpointError: the server is gone for good, or refuses.
        """
        trainer, old = self._trainer, self._last
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # in all processes, as they may share it out
        name = [f"{self._params.roles.policy.model}-{self._run_id}-{trainer.state.global_step}"]
        broadcast_object_list(name)
        model = trainer.accelerator.unwrap_model(trainer.model)
        folder = FOLDER / name[0]
        self._last = Weights(folder.absolute(), name[0] if isinstance(model, PeftModel) else None)
        if is_first():
            with directory_written_atomically(folder) as inside:
                _save(model, state, inside, getattr(torch, self._params.student.dtype))
            self._loop.gather([self._server.load(self._last)])
        trainer.accelerator.wait_for_everyone()
        if not is_first():
            self._loop.gather([self._server.load(self._last, first=False)])
        trainer.accelerator.wait_for_everyone()
        if old and is_first():
            shutil.rmtree(old.folder, ignore_errors=True)
        self._calls = 0

    def run(self, student_format: ChatFormat, episodes: Sequence[Episode]) -> list[Sampled]:
        """As `run_episodes` of the sampler; the same params, step and place give the same seeds."""
        self._calls += 1
        of_step = f"{self._params.seed}-{self._trainer.state.global_step}-{self._calls}-{rank()}"
        rows = zip(episodes, begun(student_format, episodes), strict=True)
        return self._loop.gather(
            self._episode(student_format, episode, sampled, f"{of_step}-{number}")
            for number, (episode, sampled) in enumerate(rows)
        )

    def check(self) -> None:
        """Raise SynthAgentError where the server writes with other weights than the trainer's."""
        apart = self._trainer._metrics["train"].get(f"{GAP}/mean")
        if apart and apart[-1] > _MOST_APART:
            raise SynthAgentError(
                f"grpo: roles.policy: {self._params.roles.policy.base_url}: the log-probabilities of its tokens are "
                f"{apart[-1]:.2f} from the trainer's (at most {_MOST_APART} is plausible): it does not serve this "
                "student; end it and start it with `synthagent serve policy`"
            )

    async def close(self) -> None:
        """Free the disk, and close the connections."""
        await self._server.close()
        if self._last and is_first():
            shutil.rmtree(self._last.folder, ignore_errors=True)

    async def _episode(self, form: ChatFormat, episode: Episode, sampled: Sampled, seed: str) -> Sampled:
        limits = self._params.episode
        while episode.end is None:
            most = min(limits.max_turn_tokens, limits.max_tokens - len(sampled.completion))
            read = [*sampled.prompt, *sampled.completion]
            written = await self._server.write(read, most, sorted(form.end_ids), _number(f"{seed}-{len(read)}"))
            sampled.completion += written.tokens
            sampled.logprobs += written.logprobs
            sampled.mask += [1] * len(written.tokens)
            if written.tokens[-1] in form.end_ids:
                observations = await episode.astep(form.turn(written.tokens, episode.task.tools))
                observe(sampled, episode, observations, form, limits)
            else:
                episode.stop("token_limit", form.text(written.tokens))
        return sampled


@contextmanager
def served(params: Params, made: TrainingEpisodes, start: Path) -> Iterator[Served | None]:
    """Generation by the server that params describe; None where the student writes in process.

    `start`: the weights from which the training starts.
    """
    if params.grpo.generation == "local":
        yield None
        return
    if is_first():
        shutil.rmtree(FOLDER, ignore_errors=True)  # what a training that was killed has left
    loop = made.models.loop if made.models else LoopThread()
    generation = Served(params, PolicyServer(params, start), loop)
    try:
        yield generation
    finally:
        loop.gather([generation.close()])
        if not made.models:
            loop.close(partial(asyncio.sleep, 0))


def _save(model: Any, state: dict[str, Any], folder: Path, dtype: torch.dtype) -> None:
    """An adapter as it is; all weights in the type in which they act."""
    try:
        if isinstance(model, PeftModel):
            model.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
        else:
            once = {_place(tensor): tensor.to(dtype) for tensor in state.values()}  # what is shared stays shared
            model.save_pretrained(folder, state_dict={name: once[_place(tensor)] for name, tensor in state.items()})
    except SafetensorError as error:  # a full disk, to it
        raise OSError(str(error)) from None


def _place(tensor: torch.Tensor) -> tuple[int, torch.Size]:
    return tensor.data_ptr(), tensor.shape


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
