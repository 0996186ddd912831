"""The model card: Hugging Face front matter and Markdown, written from a model's lineage and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PHASE_NAMES = {
    "cpt": ("continued pre-training (CPT)", "继续预训练"),
    "sft": ("supervised fine-tuning (SFT)", "监督微调"),
    "dfpo": ("direct following preference optimisation (DFPO)", "直接跟随偏好优化"),
    "experts": ("mixture of universal-specific experts", "通用—专用混合专家"),
}
_TASKS = {"medkqa": "知识问答", "evidiag": "循证问诊", "trerecom": "治疗推荐"}
_METRICS = ("rouge-1", "rouge-2", "rouge-l", "bleu-1", "bleu-2", "bleu-3", "bleu-4", "gleu", "distinct-1", "distinct-2")
_SHOWN_BY_TASK = ("rouge-l", "bleu-4")
_ON_HUB = {"rouge": "rouge", "bleu": "bleu", "gleu": "google_bleu"}
"""Our metrics -> the hub's, by the part before the dash"""
_TEMPLATE = "card.jinja"


def model_card(lineage: Mapping[str, Any], window: int | None, tokenizer: Any) -> str:
    """The `README.md` of an export.

    Args:
        lineage: what `export.lineage.lineage` found, with the key `export` for what the export itself did.
        window: longest sequence in tokens, where the configuration says it.
        tokenizer: that goes with the model.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Markdown, not HTML: cells escape what could end them (`_cell`).
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.get_template(_TEMPLATE).render(
        front_matter=_front_matter(lineage),
        **{
            key: lineage[key]
            for key in ("name", "base", "phases", "corpus", "evaluation", "export", "versions", "experts")
        },
        trained=[PHASE_NAMES[phase["phase"]] for phase in lineage["phases"]],
        names=PHASE_NAMES,
        scores=list(_scores(lineage["evaluation"])),
        template=isinstance(tokenizer.chat_template, str),
        window=window,
        settings=lambda phase: json.dumps(phase["settings"], ensure_ascii=False, indent=1),
    )


def _front_matter(lineage: Mapping[str, Any]) -> str:
    """The YAML head that the hub reads."""
    import yaml

    base, adapter = lineage["base"], lineage["export"]["form"] == "adapter"
    licence = base["licence"]
    values: dict[str, Any] = {"license": licence["identifier"]}
    if licence["identifier"] == "other" or licence["name"]:
        values["license_name"] = licence["name"] or "other"
    if licence["link"]:
        values["license_link"] = licence["link"]
    values["language"] = ["zh"]
    values["library_name"] = "peft" if adapter else "transformers"
    values["pipeline_tag"] = "text-generation"
    if base["kind"] == "hub":  # the hub reads any name as an id of its own, and links to whoever has it
        values["base_model"] = base["name"]
        values["base_model_relation"] = "adapter" if adapter else "finetune"
    values["tags"] = ["medical", "pediatrics", "chinese", "conversational", "pediatricsgpt"]
    metrics = (lineage["evaluation"] or {}).get("metrics") or {}
    hub = {kind: _ON_HUB[kind] for name in metrics if (kind := name.split("-")[0]) in _ON_HUB}
    if hub:
        values["metrics"] = list(hub.values())
        values["model-index"] = [{"name": lineage["name"], "results": [_result(metrics)]}]
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False).strip()


def _result(metrics: Mapping[str, Any]) -> dict[str, Any]:
    figures = [
        {
            "type": _ON_HUB[name.split("-")[0]],
            "name": f"{name} (n {value['n']}, 95 % interval {value['low']:.2f} to {value['high']:.2f})",
            "value": round(value["mean"], 2),
        }
        for name, value in metrics.items()
        if name.split("-")[0] in _ON_HUB
    ]
    return {
        "task": {"type": "text-generation"},
        "dataset": {"type": "held-out", "name": "held-out dialogues of the run"},
        "metrics": figures,
    }


def _scores(evaluation: Mapping[str, Any] | None) -> Iterator[Sequence[str]]:
    """(what, items, figure, low, high) of each figure, the held-out loss first."""
    if not evaluation or "doubt" in evaluation:
        return
    loss = evaluation["loss"]
    if loss:
        where = f"{loss['rows']} rows, {loss['tokens']} tokens"
        yield ("held-out loss (nats per answer token)", "all", where, *_interval(loss, 3))
    measured: list[tuple[str, Mapping[str, Any], Sequence[str]]] = [("all", evaluation["metrics"], _METRICS)]
    measured += [(task, values, _SHOWN_BY_TASK) for task, values in evaluation["by_task"].items()]
    for task, values, shown in measured:
        told = f"{task} {_TASKS[task]}" if task in _TASKS else task
        for name in shown:
            if name in values:
                yield (name.upper(), told, f"{values[name]['n']}", *_interval(values[name], 2))


def _interval(value: Mapping[str, float], places: int) -> tuple[str, str]:
    return f"{value['mean']:.{places}f}", f"[{value['low']:.{places}f}, {value['high']:.{places}f}]"


def _cell(value: Any) -> str:
    """Names hold text of others: it must not end its cell, nor become a tag."""
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
