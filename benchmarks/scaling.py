"""Memory and time of training large students on GPUs, worked out: a model's config -> the tables of docs/scaling.md.

Nothing here runs on a GPU. What a block keeps for its backward pass is counted on this CPU, from the tensors that
autograd saves of one real block; all else is arithmetic on the config, by the formulas in docs/scaling.md.

Launch: `python -m benchmarks.scaling`, or `python -m benchmarks.scaling FOLDER..` with a model's config.json in each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GPUS = 8
MEMORY = 80.0  # GB of an H100
SPARE = 6.0  # GB for CUDA, NCCL and fragments
RATE = 989e12  # bf16 operations a second of an H100, dense
USED = 0.40  # of that rate, in training
BANDWIDTH = 3.35e12  # bytes a second
READ = 0.60  # of that bandwidth, in generation
LINK = 300e9  # bytes a second between the GPUs of a node
NETWORK = 50e9  # between nodes, for each GPU (400 Gbit/s)

TASKS, GROUP, STEPS = 128, 16, 236  # a step of the paper: 2,048 episodes; 2 epochs of 15,096 tasks
OPENING, CONTEXT, OWN, LONGEST = 1_500, 6_000, 2_500, 13_000  # tokens: assumed, all but the last
RANK = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's sizes. `kept`: bytes a token that a block saves for its backward pass."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    words: int
    tied: bool
    kept: int

    @property
    def block(self) -> int:
        """Parameters of a block: attention with norms of queries and keys, a gated MLP, two norms."""
        return sum(a * b for a, b in self.linears) + 2 * self.hidden + 2 * self.head

    @property
    def linears(self) -> list[tuple[int, int]]:
        """The linear modules of a block, by input and output."""
        d, q, kv, f = self.hidden, self.heads * self.head, self.kv_heads * self.head, self.inner
        return [(d, q), (d, kv), (d, kv), (q, d), (d, f), (d, f), (f, d)]

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return self.layers * self.block + self.words * self.hidden * (1 if self.tied else 2) + self.hidden

    @property
    def adapters(self) -> int:
        """Of LoRA of rank `RANK` on all linear modules."""
        return self.layers * sum(RANK * (a + b) for a, b in self.linears)

    @property
    def cache(self) -> int:
        """Bytes of keys and values a token, in bf16."""
        return 2 * self.layers * self.kv_heads * self.head * 2


QWEN3 = {"model_type": "qwen3", "head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151_936}
BUILT_IN = {
    "Qwen3-8B": QWEN3
    | {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 12_288},
    "Qwen3-14B": QWEN3
    | {"hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40, "intermediate_size": 17_408},
}


def shape_of(name: str, raw: dict[str, Any]) -> Shape:
    """The sizes in a config.json; `kept`, which is counted, may be given beside them."""
    hidden, heads = raw["hidden_size"], raw["num_attention_heads"]
    return Shape(
        name,
        raw["num_hidden_layers"],
        hidden,
        heads,
        raw.get("num_key_value_heads") or heads,
        raw.get("head_dim") or hidden // heads,
        raw["intermediate_size"],
        raw["vocab_size"],
        bool(raw.get("tie_word_embeddings", False)),
        raw.get("kept") or kept_by_a_block(raw),
    )


def kept_by_a_block(raw: dict[str, Any], tokens: int = 32) -> int:
    """Bytes a token that autograd saves of one block in bf16: counted, once for each storage, without the weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**{**raw, "num_hidden_layers": 1, "vocab_size": 8, "pad_token_id": None})
    with torch.device("cpu"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.numel() >= tokens:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.zeros(1, tokens, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
    rotary = model.rotary_emb(inputs, torch.arange(tokens)[None])
    rope = {part.untyped_storage().data_ptr() for part in rotary}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model.layers[0](inputs, position_embeddings=rotary, attention_mask=None)
    del out
    return sum(size for place, size in saved.items() if place not in rope) // tokens


def memory(shape: Shape) -> Iterator[list[str]]:
    """A row for each way to train: GB on each GPU by what they are for, and the tokens a pass that still fit."""
    p, a = shape.parameters, shape.adapters
    around = 2 * (2 * shape.block + 2 * shape.words * shape.hidden)  # gathered: two blocks, input and output
    ways = {
        "full, each GPU a copy (one-node)": (4 * p + 2 * p, 4 * p, 8 * p),
        "full, shared out (fsdp2, zero3)": (4 * p / GPUS + around, 4 * p / GPUS, 8 * p / GPUS),
        "LoRA, each GPU a copy (one-node)": (2 * p + 4 * a, 4 * a, 8 * a),
        "LoRA, shared out (fsdp2)": ((2 * p + 4 * a) / GPUS + around, 4 * a / GPUS, 8 * a / GPUS),
    }
    for way, (weights, gradients, optimizer) in ways.items():
        fixed = (weights + gradients + optimizer) / 1e9
        room = MEMORY - SPARE - fixed
        fit = [f"{max(0, room * 1e9 / each):,.0f}" if room > 0 else "-" for each in passing(shape)]
        parts = [f"{part / 1e9:.1f}" for part in (weights, gradients, optimizer)]
        yield [shape.name, way, *parts, f"{fixed:.1f}", *(f if f != "0" else "-" for f in fit)]


def passing(shape: Shape) -> tuple[float, float]:
    """Bytes a token of a pass: every block's activations; or each block's input (and one block's, which is freed)."""
    logits = shape.words * (2 + 4 + 4)  # bf16, float32, and their gradient
    return shape.layers * shape.kept + logits, shape.layers * 2 * shape.hidden + shape.kept + logits


def activations(shape: Shape) -> list[str]:
    """MB for each thousand tokens of a pass."""
    whole, checkpointed = shape.layers * shape.kept, shape.layers * 2 * shape.hidden + shape.kept
    return [
        shape.name,
        f"{shape.kept:,}",
        f"{whole / 1e3:,.0f}",
        f"{checkpointed / 1e3:,.0f}",
        f"{shape.words * 10 / 1e3:,.0f}",
    ]


def generation(shape: Shape) -> Iterator[list[str]]:
    """A row for each share of a GPU's memory that vLLM may take: episodes at once, tokens a second."""
    for share in (0.3, 0.5, 0.9):
        room = share * MEMORY * 1e9 - 2 * shape.parameters - 2e9
        if room <= 0:
            yield [shape.name, f"{share:.1f}", "-", "-", "-", "-"]
            continue
        at_once = room / (CONTEXT * shape.cache)
        yield [
            shape.name,
            f"{share:.1f}",
            f"{room / 1e9:.1f}",
            f"{at_once:.0f}",
            f"{room / ((OPENING + LONGEST) * shape.cache):.0f}",
            f"{decoded(shape, at_once):,.0f}",
        ]


def decoded(shape: Shape, at_once: float) -> float:
    """Tokens a second of one GPU: a token of every episode takes one reading of the weights and of all caches."""
    return at_once * BANDWIDTH * READ / (2 * shape.parameters + at_once * CONTEXT * shape.cache)


def step(shape: Shape) -> list[str]:
    """Seconds of a step of GRPO with the paper's figures on all GPUs, one part after the other; hours of the run."""
    episodes = TASKS * GROUP
    length = OPENING + CONTEXT
    attention = 2 * 2 * shape.layers * shape.heads * shape.head * length / 2  # operations a token, forward, causal
    forward = 2 * shape.parameters + attention
    training = episodes * length * 4 * forward / (GPUS * RATE * USED)  # forward, backward (2), forward again
    at_once = (0.9 * MEMORY * 1e9 - 2 * shape.parameters - 2e9) / (CONTEXT * shape.cache)
    reading = episodes * (length - OWN) * forward / (GPUS * RATE * USED)
    writing = episodes * OWN / (GPUS * decoded(shape, at_once))
    moved = 2 * shape.parameters / 2e9  # to disk and back, at 2 GB a second
    total = training + reading + writing + moved
    parts = [f"{part:,.0f}" for part in (writing, reading, training, moved, total)]
    return [shape.name, f"{episodes:,}", f"{episodes * length / 1e6:.1f}", *parts, f"{total * STEPS / 3600:.0f}"]


def traffic(shape: Shape) -> list[str]:
    """Seconds of a pass of one episode a GPU: arithmetic, and what sharing out adds within a node and over nodes."""
    length = OPENING + CONTEXT
    arithmetic = length * 8 * shape.parameters / (RATE * USED)
    moved = 3 * 2 * shape.parameters  # weights gathered twice in bf16, gradients scattered in bf16
    return [shape.name, f"{arithmetic:.2f}", f"{moved / 1e9:.0f}", f"{moved / LINK:.2f}", f"{moved / NETWORK:.2f}"]


def tables(shapes: Sequence[Shape]) -> str:
    """All tables, as Markdown."""
    sizes = [
        [s.name, f"{s.parameters / 1e9:.2f}", f"{s.adapters / 1e6:.0f}", f"{s.block / 1e6:.0f}", f"{s.cache / 1e3:.0f}"]
        for s in shapes
    ]
    parts = [
        ("Sizes", ["model", "parameters, 1e9", f"LoRA {RANK}, 1e6", "a block, 1e6", "KV kB a token"], sizes),
        (
            f"GB on each of {GPUS} GPUs in training, and how many tokens a pass then may have",
            ["model", "way", "weights", "gradients", "optimizer", "sum", "tokens a pass", "with checkpointing"],
            [row for s in shapes for row in memory(s)],
        ),
        (
            "MB of activations for each 1,000 tokens of a pass",
            ["model", "bytes a token and block (counted)", "all blocks", "with checkpointing", "logits"],
            [activations(s) for s in shapes],
        ),
        (
            "vLLM on one GPU",
            f"model|its share|GB for caches|episodes of {CONTEXT:,} tokens at once|of {OPENING + LONGEST:,}|"
            "tokens a second".split("|"),
            [row for s in shapes for row in generation(s)],
        ),
        (
            f"Seconds of a GRPO step on {GPUS} GPUs, and hours of {STEPS} steps",
            ["model", "episodes", "tokens, 1e6", "writing", "reading", "training", "weights to vLLM", "sum", "hours"],
            [step(s) for s in shapes],
        ),
        (
            "Seconds of one pass (an episode a GPU) with weights shared out",
            ["model", "arithmetic", "GB moved", "within a node", "over nodes"],
            [traffic(s) for s in shapes],
        ),
    ]
    return "\n\n".join(_table(title, head, rows) for title, head, rows in parts) + "\n"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return f"**{title}** (computed)\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(folders: Sequence[str]) -> None:
    """Print the tables of the models in these folders; of none: of Qwen3-8B and 14B."""
    given = {Path(folder).name: json.loads((Path(folder) / "config.json").read_text()) for folder in folders}
    print(tables([shape_of(name, raw) for name, raw in (given or BUILT_IN).items()]), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
