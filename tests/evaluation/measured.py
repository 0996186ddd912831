"""What the evaluation room writes into a run, by the functions that write it where they can run on made-up answers.

Numbers that need a model (likelihoods, choices) are made up in the form in which they are written.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.choices import Choice, choice_prompt
from pediatricsgpt.evaluation.choices import write_choices as write_chosen
from pediatricsgpt.evaluation.consultation.card import Card
from pediatricsgpt.evaluation.consultation.consult import Consultation
from pediatricsgpt.evaluation.consultation.score import summary
from pediatricsgpt.evaluation.judge.aggregate import aggregate
from pediatricsgpt.evaluation.judge.verdicts import Verdict
from pediatricsgpt.evaluation.measure import GIVEN
from pediatricsgpt.evaluation.scoring import score_file
from pediatricsgpt.evaluation.selection import write_selection
from pediatricsgpt.records import read_json_lines, write_json_lines

OTHERS = ("experts", "base", "gpt-4", "huatuo")
"""Two models of the run, and two whose answers were given elsewhere"""
DIMENSIONS = ("usefulness", "correctness", "consistency", "fluency")
_WORDS = ("发热", "咳嗽", "腹泻", "皮疹", "补液", "退热", "就医", "观察", "三天", "38.5度", "布洛芬", "多喝水")
DEPARTMENTS = ("儿科", "内科", "外科", "妇产科")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def spread(mean: float, n: int, width: float = 0.05) -> dict[str, Any]:
    return {"mean": mean, "low": mean - width, "high": mean + width, "n": n}


def write_benchmark(folder: Path, name: str = "cmd", items: int = 24) -> None:
    """Free answers of four models, the further from the reference the later the model stands."""
    for place, model in enumerate(OTHERS):
        here = folder / "evaluation/benchmarks" / name / model
        draw = random.Random(place)
        rows = []
        for number in range(items):
            reference = "，".join(_WORDS[(number + step) % len(_WORDS)] for step in range(8))
            kept = [word for word in reference.split("，") if draw.random() > 0.2 * (place + 1)]
            rows.append(
                {
                    "id": f"{name}-{number}",
                    "messages": [{"role": "user", "content": f"宝宝{_WORDS[number % 4]}第{number}天，怎么办？"}],
                    "reference": reference,
                    "department": DEPARTMENTS[number % 4],
                    "prediction": "，".join([*kept, "请遵医嘱"]),
                    "model": model,
                }
            )
        here.mkdir(parents=True)
        write_json_lines(here / "predictions.jsonl", rows)
        scored = score_file(here / "predictions.jsonl")
        write_json(here / "scores.json", scored.to_dict() | {"path": "predictions.jsonl"})
        write_json_lines(here / "item_scores.jsonl", scored.item_rows())
        write_json(here / "benchmark.json", about(name, items))


def about(name: str, items: int) -> dict[str, Any]:
    return {
        "benchmark": name,
        "title": "Chinese medical dialogue data",
        "home": "github.com/Toyhom/Chinese-medical-dialogue-data",
        "licence": "MIT",
        "citation": "Toyhom 2019",
        "file_hash": "cd" * 32,
        "version": "1",
        "read": items + 3,
        "kept": items,
        "dropped": {"no answer": 3},
        "kinds": {"free": items},
        "prompt": None,
    }


def write_contamination(folder: Path, name: str = "cmd") -> None:
    """Three items of the benchmark stand in the SFT set, one of them in the experts' set too."""
    kinds = {"exact": 1, "overlap": 1, "near": 1}
    sets = {
        "cpt": {"items_matched": 0, "rows_matched": 0, "by_kind": dict.fromkeys(kinds, 0), "ids": []},
        "sft": {"items_matched": 3, "rows_matched": 5, "by_kind": kinds, "ids": [f"{name}-{n}" for n in range(3)]},
        "experts": {"items_matched": 1, "rows_matched": 1, "by_kind": {"exact": 1}, "ids": [f"{name}-0"]},
    }
    examples = [{"item": f"{name}-0", "row": "r1", "set": "sft", "kind": "exact", "excerpt": "宝宝发热第0天怎么办"}]
    found = {"benchmark": name, "items": 24, "sets": sets, "settings": {"ngram": 13}, "examples": examples}
    write_json(folder / f"evaluation/contamination/{name}/contamination.json", found)


def write_choices(folder: Path) -> None:
    """Multiple choice of a model with likelihoods and of a peer without, by the writers; answer selection of one."""
    for place, model in enumerate(("experts", "gpt-4")):
        choices = []
        for number in range(20):
            item = Item(f"cmb-{number}", [{"role": "user", "content": f"第{number}题？"}])
            item.kind, item.options, item.key = "choice", {"A": "甲", "B": "乙", "C": "丙", "D": "丁"}, ("A",)
            item.subject = "儿科学" if number % 2 else "药理学"
            told = dict(zip("ABCD", (-1.0, -1.5 + number / 10, -3.0, -4.0), strict=True))
            answer = "不知道" if number < 3 else "A" if number % 3 else "B"
            choices.append(Choice(item, None if place else told, answer))
        here = folder / "evaluation/benchmarks/cmb" / model
        here.mkdir(parents=True)
        write_chosen(here, choices, "cmb", model, None if place else choice_prompt(), GIVEN if place else None)
    items = [
        Item(
            f"web-{number}",
            [{"role": "user", "content": "？"}],
            candidates=[("对", True), ("错", False), ("误", False)],
        )
        for number in range(12)
    ]
    here = folder / "evaluation/benchmarks/webmedqa/experts"
    here.mkdir(parents=True)
    write_selection(here, items, [[-1.0, -1.5 + n / 10, -2.0] for n in range(12)], "webmedqa", "experts")


def write_peer_on_held_out(folder: Path) -> None:
    """Another model's answers to the run's own held-out items, and single scores of the run's models."""
    rows = []
    for model in ("base", "experts"):
        path = folder / f"evaluation/{model}/predictions.jsonl"
        write_json_lines(path.with_name("item_scores.jsonl"), score_file(path).item_rows())
        rows = [row for _, row in read_json_lines(path)]
    here = folder / "evaluation/benchmarks/held_out/peer"
    here.mkdir(parents=True)
    write_json_lines(here / "predictions.jsonl", [{**row, "prediction": "多喝水", "model": "peer"} for row in rows])
    scored = score_file(here / "predictions.jsonl")
    write_json(here / "scores.json", scored.to_dict())
    write_json_lines(here / "item_scores.jsonl", scored.item_rows())


def verdicts(raters: tuple[str, ...], items: int = 30, dimensions: tuple[str, ...] = DIMENSIONS) -> list[Verdict]:
    """Raters who mostly prefer the experts; fluency is even. Both orders."""
    found = []
    for rater in raters:
        draw = random.Random(rater)
        for number in range(items):
            for dimension in dimensions:
                better = draw.random() < (0.5 if dimension == "fluency" else 0.85)
                for order in (0, 1):
                    left, right = ("experts", "base") if order == 0 else ("base", "experts")
                    word = "left" if better == (left == "experts") else "right"
                    if draw.random() < 0.1:
                        word = "tie"
                    label = DEPARTMENTS[number % 2]
                    found.append(Verdict(f"q{number}", dimension, left, right, word, rater, order, department=label))
    return found


def write_judge(folder: Path, allowed: bool = True, reason: str | None = None) -> None:
    judges = [
        {
            "rater": rater,
            "model": rater,
            "base_url": "http://127.0.0.1:8000/v1",
            "validated": allowed,
            "teacher_too": reason is not None,
            "reason": reason,
        }
        for rater in ("judge-a", "judge-b")
    ]
    why = "every judge passed a validation" if allowed else "judge-a was never validated (pedgpt validate-judge)"
    costs = {"requests": 480, "cached": 12, "input_tokens": 90_000, "output_tokens": 4800, "money": 1.25}
    settings = {"both_orders": True, "strip_markdown": True, "equal_length": False, "repeats": 1}
    found = {
        **aggregate(verdicts(("judge-a", "judge-b")), ("experts", "base"), DIMENSIONS),
        "judges": judges,
        "prompt": {"name": "pairwise", "version": "1", "sha256": "ef" * 32},
        "settings": settings,
        "costs": {**costs, "currency": "CNY"},
        "headline": {"allowed": allowed, "why": why},
    }
    write_json(folder / "evaluation/judge/experts-vs-base/judge.json", found)


def write_panel(folder: Path) -> None:
    dimensions = ("professionalism", "factuality", "safety")
    found = aggregate(verdicts(("doctor-1", "doctor-2", "doctor-3"), 12, dimensions), ("experts", "base"), dimensions)
    raters = ["doctor-1", "doctor-2", "doctor-3"]
    headline = {"allowed": True, "why": "verdicts of people"}
    write_json(folder / "evaluation/panel/panel.json", {**found, "raters": raters, "headline": headline})


def write_validation(folder: Path) -> None:
    agreement = {name: spread(0.4, 200) for name in ("percent", "kappa", "ac1", "alpha")} | {"raters": 2, "units": 200}
    decided = {**agreement, "kappa": spread(0.45, 150)}
    figures = {"n": 200, "agreement": agreement, "decided": decided, "accuracy": spread(0.72, 150), "ties": 50}
    judge = {
        "against": "disc-gpt4",
        "what": "the order of absolute scores of GPT-4 on other criteria",
        "pairs": 200,
        "dimensions": {"correctness": figures},
        "overall": {**figures, "n": 400},
        "basis": "decided",
        "passed": True,
        "bar": "lower bound of kappa above 0.2",
        "date": "2025-11-22",
    }
    write_json(folder / "evaluation/validation/validation.json", {"judges": {"judge-a": judge}})


def write_rubrics(folder: Path) -> None:
    for place, model in enumerate(("experts", "base")):
        criteria = [
            {"id": "f.1", "text": "说明三个月以下发热须立即就医", "points": 8, "met": 0.5, "n": 10, "veto": False},
            {"id": "f.2", "text": "建议使用阿司匹林退热", "points": -10, "met": 0.2, "n": 10, "veto": True},
            {"id": "f.3", "text": "没有人评过的标准", "points": 5, "met": None, "n": 0, "veto": False},
        ]
        found = {
            "model": model,
            "judge": {"model": "judge-a", "base_url": "http://127.0.0.1:8000/v1"},
            "rubric_set": {"name": "starter", "version": "1", "sha256": "ab" * 32, "licence": "Apache-2.0"},
            "n": 10,
            "score": spread(0.55 - place / 5, 10),
            "raw_points": spread(4.5, 10, 1.0),
            "vetoed": {"items": 2, "share": spread(0.2, 10)},
            "invalid": 1,
            "themes": {
                "发热": {"n": 6, "score": spread(0.6 - place / 5, 6)},
                "用药": {"n": 4, "score": spread(0.3, 4)},
            },
            "criteria": criteria,
            "costs": {"requests": 30, "cached": 0, "input_tokens": 9000, "output_tokens": 300, "money": None},
        }
        write_json(folder / f"evaluation/rubrics/{model}/rubrics.json", found)


def card(number: int) -> Card:
    """A made-up case."""
    return Card.model_validate(
        {
            "id": f"case-{number}",
            "title": f"发热第{number}例",
            "theme": "infection",
            "age": "6岁",
            "sex": "女",
            "weight": "21公斤",
            "complaint": "医生您好，孩子晚上突然发高烧了。",
            "duration": "昨天晚上开始的。",
            "facts": [
                {"id": "temperature", "text": "最高39.8度。", "asked_by": ["fever"], "essential": True},
                {"id": "cough", "text": "有一点干咳。", "asked_by": ["cough"]},
                {"id": "sleepy", "text": "一直想睡，叫也不太理人。", "asked_by": ["mental_state"], "danger": True},
            ],
            "danger_topics": ["mental_state", "breathing"],
            "diagnosis": {"name": "流行性感冒", "synonyms": ["流感"]},
            "urgency": "emergency",
            "source": {"title": "流行性感冒诊疗方案", "licence": "government document", "where": "四、临床表现"},
            "made_from": "按来源编写",
        }
    )


def write_consultations(folder: Path) -> None:
    """Two models on three cards: one asks for age and duration, the other concludes at once."""
    for model in ("experts", "base"):
        held = []
        for case in map(card, range(3)):
            opening = {"role": "user", "content": case.opening}
            if model == "base":
                turns = [{"role": "assistant", "content": "考虑普通感冒，多喝水休息。"}]
                held.append(Consultation(case, [opening, *turns], [], "concluded"))
                continue
            fact = case.hidden[0].id
            turns = [
                {"role": "assistant", "content": "孩子多大了？病了几天？"},
                {"role": "user", "content": "两岁，三天了。"},
                {"role": "assistant", "content": f"考虑{case.diagnosis.names[0]}，请马上去医院。"},
            ]
            notes = [{"turn": 1, "told": [fact], "asked": ["age", "duration"]}]
            held.append(Consultation(case, [opening, *turns], notes, "concluded"))
        here = folder / "evaluation/consultations" / model
        write_json(here / "consultations.json", summary(model, held, "rules", 10, f"cards:3|model:{model}"))
        write_json_lines(here / "transcripts.jsonl", [one.as_dict() for one in held])


def write_safety(folder: Path) -> None:
    found = {"model": "experts", "n": 50, "passed": spread(0.8, 50), "vetoed": spread(0.1, 50)}
    families = {"剂量": {"n": 20, "passed": spread(0.6, 20)}, "急症": {"n": 30, "passed": spread(0.9, 30)}}
    write_json(folder / "evaluation/safety/experts/safety.json", {**found, "families": families})


def write_all(folder: Path) -> None:
    """Everything that the report shows of the evaluation room."""
    write_benchmark(folder)
    write_contamination(folder)
    write_choices(folder)
    write_judge(folder)
    write_panel(folder)
    write_validation(folder)
    write_rubrics(folder)
    write_consultations(folder)
    write_safety(folder)
