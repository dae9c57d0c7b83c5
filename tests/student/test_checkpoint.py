"""A trained checkpoint moves to where DVC expects it."""

from __future__ import annotations

from pathlib import Path

from synthagent.student.checkpoint import LOG, take_checkpoint


def test_of_a_training_the_model_is_kept_and_the_log_handed_over(tmp_path: Path) -> None:
    trained, out = tmp_path / "trained", tmp_path / "models" / "m"
    for number in (1, 2):
        trained.mkdir(exist_ok=True)
        (trained / "config.json").write_text(f"{number}")
        (trained / "training_args.bin").write_text("has paths in it")
        (trained / LOG).write_text(f"[{number}]")
        assert take_checkpoint(trained, out) == [number]
        assert {path.name: path.read_text() for path in out.iterdir()} == {"config.json": f"{number}"}
