"""The tokenizer of Baichuan(2), made from the published `tokenizer.model` without remote code."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerFast

from pediatricsgpt.models.baichuan.sentencepiece import convert, read

USER_ID, ASSISTANT_ID = 195, 196
"""The published `user_token_id` and `assistant_token_id`: pieces that pre-training left free"""
_NAMED = ("unk_token", "bos_token", "eos_token", "pad_token")


class BaichuanTokenizer(PreTrainedTokenizerFast):
    """Reads `tokenizer.model`, or the `tokenizer.json` that it was saved as.

    The chat template, unless the folder has one, renders what the published code builds: each turn behind its own
    token, a system text plainly before the first. See `chat_template.jinja` for the end token.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "tokenizer.model",
        "tokenizer_file": "tokenizer.json",
    }
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    padding_side = "left"

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """The arguments of the constructor (called by transformers): adds the tokenizer proper, or its file."""
        for remote in ("auto_map", "use_fast"):  # they are about the published code, which a saved copy does not have
            kwargs.pop(remote, None)
        made: str | None = kwargs.get("tokenizer_file")
        original: str | None = kwargs.get("vocab_file")
        if (made is not None and Path(made).is_file()) or original is None or not Path(original).is_file():
            native: dict[str, Any] = super().convert_to_native_format(trust_remote_code=trust_remote_code, **kwargs)
            return native
        model = read(Path(original))
        for name in _NAMED:
            # The published ones are "single words": behind a Chinese character they would not be recognised.
            kwargs[name] = str(kwargs.get(name) or ("<unk>" if name == "pad_token" else model.special(name)))
        kwargs.setdefault("add_bos_token", False)
        kwargs.setdefault("add_eos_token", False)
        turns = model.pieces[USER_ID : ASSISTANT_ID + 1]
        roles = [piece.text for piece in turns if piece.user_defined and piece.text.startswith("<reserved_")]
        if not kwargs.get("chat_template") and len(roles) == 2:
            kwargs["chat_template"] = _template(*roles)
        return {**kwargs, "tokenizer_object": convert(model, special=roles)}


def _template(user: str, assistant: str) -> str:
    text = resources.files("pediatricsgpt.models.baichuan").joinpath("chat_template.jinja").read_text(encoding="utf-8")
    return text.strip().replace("USER", user).replace("ASSISTANT", assistant)
