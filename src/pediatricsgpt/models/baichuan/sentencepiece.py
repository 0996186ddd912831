"""Reading a SentencePiece BPE model file and making a `tokenizers.Tokenizer` that splits text as it does.

The file is a protocol buffer (sentencepiece_model.proto); the few fields that matter are read here, so that neither
`sentencepiece` nor `protobuf` has to be installed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError

SPACE = "▁"
"""How SentencePiece writes a space"""
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_BPE = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float = 0.0
    kind: int = _NORMAL

    @property
    def user_defined(self) -> bool:
        """Whether training was told to keep this piece whole."""
        return self.kind == _USER_DEFINED


@dataclass(slots=True)
class PieceModel:
    """What a SentencePiece file says; the defaults are those of the format."""

    pieces: list[Piece] = field(default_factory=list)
    algorithm: int = 1
    precompiled_charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    specials: dict[str, str] = field(
        default_factory=lambda: {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    )

    def special(self, name: str) -> str:
        """The piece of `unk_token`, `bos_token` or `eos_token`."""
        return self.specials[name]


def read(path: Path) -> PieceModel:
    """Read a SentencePiece model.

    Raises:
        UserError: the file is none (a pointer of Git LFS, for example), one of another algorithm than BPE, or one that
            puts a space before every text, which the published ones do not and `convert` could not do exactly.
    """
    try:  # other bytes may read as fields of other kinds, or as pieces without a text
        model = _parse(path.read_bytes())
    except (ValueError, IndexError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise UserError("no SentencePiece model (damaged, or a Git LFS pointer); fetch it again", path) from error
    if not model.pieces:
        raise UserError("this SentencePiece model has no pieces; fetch it again", path)
    if model.algorithm != _BPE:
        raise UserError("this SentencePiece model is not of the BPE kind that Baichuan's is", path)
    if model.add_dummy_prefix:
        raise UserError("this SentencePiece model puts a space before each text, which Baichuan's does not", path)
    return model


def convert(model: PieceModel, special: Sequence[str] = ()) -> Any:
    """A `tokenizers.Tokenizer` with the same ids.

    Args:
        special: user-defined pieces that decoding may skip, as it does the beginning and the end.
    """
    from tokenizers import AddedToken, Tokenizer, models

    vocabulary = {piece.text: index for index, piece in enumerate(model.pieces)}
    unknown = next((piece.text for piece in model.pieces if piece.kind == _UNKNOWN), None)
    has_bytes = any(piece.kind == _BYTE for piece in model.pieces)
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges(model.pieces), unk_token=unknown, fuse_unk=True, byte_fallback=has_bytes)
    )
    _set_whitespace(tokenizer, model)
    # Matched in the raw text, before anything is normalised, and never a part of a longer piece.
    whole = [piece for piece in model.pieces if piece.kind in (_UNKNOWN, _CONTROL, _USER_DEFINED)]
    for piece in whole:
        skipped = not piece.user_defined or piece.text in special
        add = tokenizer.add_special_tokens if skipped else tokenizer.add_tokens
        add([AddedToken(piece.text, normalized=False, special=skipped)])
    return tokenizer


def merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a third, best score first: the order in which SentencePiece joins them."""
    normal = {piece.text: piece.score for piece in pieces if piece.kind == _NORMAL}
    found = [
        (-score, index, text[:cut], text[cut:])
        for index, (text, score) in enumerate(normal.items())
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]
    found.sort(key=lambda merge: (merge[0], merge[1], len(merge[2])))
    return [(left, right) for _, _, left, right in found]


def _set_whitespace(tokenizer: Any, model: PieceModel) -> None:
    """Spaces, and what else is normalised before the split, and their way back in decoding."""
    from tokenizers import Regex, decoders, normalizers

    steps: list[Any] = [normalizers.Precompiled(model.precompiled_charsmap)] if model.precompiled_charsmap else []
    if model.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])


def _parse(data: bytes) -> PieceModel:
    model = PieceModel()
    for number, value in _fields(data):
        if number == 1:
            parts = dict(_fields(value))
            (score,) = struct.unpack("<f", parts.get(2, bytes(4)))
            model.pieces.append(Piece(parts[1].decode("utf-8"), score, parts.get(3, _NORMAL)))
        elif number == 2:
            trainer = dict(_fields(value))
            model.algorithm = trainer.get(3, model.algorithm)
            for name, key in (("unk_token", 45), ("bos_token", 46), ("eos_token", 47)):
                model.specials[name] = trainer.get(key, model.specials[name].encode()).decode("utf-8")
        elif number == 3:
            normalizer = dict(_fields(value))
            model.precompiled_charsmap = normalizer.get(2, b"")
            model.add_dummy_prefix = bool(normalizer.get(3, True))
            model.remove_extra_whitespaces = bool(normalizer.get(4, True))
    return model


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of one message: (number, value), where a value is an integer or bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        length, place = _varint(data, place) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), place)
        if length < 0 or place + length > len(data):
            raise ValueError(f"no field of a protocol buffer at byte {place}")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
        shift += 7
