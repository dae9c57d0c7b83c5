"""Has each worker of a vLLM server load a student's new weights from a folder, between two requests.

`synthagent serve policy` mixes it in where all weights are trained (`--worker-extension-cls`); a training then posts
`load_student` and a folder to `/collective_rpc`. vLLM's own `reload_weights` leaves one thing as it was on a CPU,
without an error: an output layer that shares the embedding's weights, of which the CPU kernel keeps a packed copy.
"""

from __future__ import annotations

from typing import Any


class StudentWeights:
    """Mixed into vLLM's worker."""

    def load_student(self: Any, folder: str) -> None:
        """Put the weights in `folder` in the place of those that are served."""
        self.reload_weights(weights_path=folder)
        output = getattr(self.model_runner.get_model(), "lm_head", None)
        if hasattr(output, "cpu_linear"):
            output.quant_method.process_weights_after_loading(output)
