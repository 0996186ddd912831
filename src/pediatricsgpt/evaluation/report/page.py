"""How pages are made: one file, everything escaped, and a policy that lets nothing in but what was written with it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import lineage, pipeline, tables, words
from pediatricsgpt.evaluation.report.explorer import script

_FOLDER = Path(__file__).parent


def page(template: str, values: Mapping[str, Any]) -> str:
    """A template with its values; every one of them is escaped: what models and sources say is never trusted."""
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    # The text of our own files, and nothing else, is put in unescaped.
    own = {"style": Markup(style), "policy": policy(style, script())}
    return environment().get_template(template).render({**own, **values})


def policy(style: str, code: str) -> str:
    """The page's Content-Security-Policy: this style, this script, pictures in the page; no address at all."""
    return (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates beside this file, with the filters that say things."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=words.number,
        signed=words.signed,
        duration=words.duration,
        memory=words.memory,
        day=words.day,
        model=words.model,
        metric=words.metric,
        benchmark=words.benchmark,
        field=words.field,
        brief=words.brief,
        percent=words.percent,
        step=words.step,
    )
    made.globals.update(
        METRICS=METRICS,
        label=words.label,
        personal=words.personal,
        style_mark=words.style,
        marks=pipeline.MARKS,
        shown=tables.shown,
        short_hash=lineage.SHORT_HASH,
    )
    return made
