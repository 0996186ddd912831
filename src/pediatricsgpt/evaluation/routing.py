"""Which experts a model of phase 4 uses on held-out dialogues of each task: the paper's figure, and more finely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pediatricsgpt.models.encode import encode_dialogue
from pediatricsgpt.models.load import Loaded


def has_experts(loaded: Loaded) -> bool:
    """Whether the model carries universal-specific experts."""
    return any(type(module).__name__ == "ExpertsLinear" for module in loaded.model.modules())


def routing(loaded: Loaded, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The routers' shares over whole dialogues, question and answer, by task and layer.

    Args:
        rows: held-out instruction rows with `task` and `messages`; rows beyond the model's window are left out.

    Returns:
        `by_task`: task -> mean share of each specific expert; `layers`: see `experts.statistics.Share`; `rows`: rows
        by task.
    """
    import torch

    from pediatricsgpt.experts import RoutingStatistics

    window = getattr(loaded.model.config, "max_position_embeddings", None) or float("inf")
    statistics, counted = RoutingStatistics(), dict[str, int]()
    for row in sorted(rows, key=lambda row: str(row["task"])):
        ids = encode_dialogue(loaded.tokenizer, row["messages"]).input_ids
        if len(ids) > window:
            continue
        counted[row["task"]] = counted.get(row["task"], 0) + 1
        with statistics.watching(loaded.model, row["task"]), torch.inference_mode():
            loaded.model(input_ids=torch.tensor([ids], device=loaded.model.device), use_cache=False, logits_to_keep=1)
    return {**statistics.to_json(), "rows": counted}
