"""Settings of the corpus room: which sources go in, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pediatricsgpt.settings import Settings

SourceKind = Literal[
    "textbook", "guideline", "knowledge_graph", "conversation", "recording", "dataset", "preferences", "text"
]


class SourceSettings(Settings):
    """One source. Licence, consent and purpose are required: a corpus about children without them is refused."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Short name, used in file names and on every row: small letters, digits, - and _"""
    kind: SourceKind
    """What it is: textbook, guideline, knowledge_graph, conversation, recording, dataset, preferences or text"""
    path: Path
    """File, folder or glob, relative to the recipe"""
    licence: str = Field(min_length=2)
    """The licence or legal ground under which the text may be used"""
    consent: str = Field(min_length=2)
    """Basis of consent of the persons in it, for example: no personal data; or: published anonymised by the source"""
    purpose: str = Field(min_length=2)
    """What it may be used for, for example training"""
    retrieved: str = ""
    """Day on which it was obtained (YYYY-MM-DD), where known"""
    ocr: Literal["auto", "never"] = "auto"
    """Documents: `auto` reads pages without a text layer, and images, by OCR; `never` rejects them"""
    entities: Path | None = None
    """Knowledge graphs: folder or file of entity tables (surface form -> normal form) that are applied"""
    speech_model: Path | None = None
    """Recordings: folder of a CTranslate2 Whisper model; required for kind recording"""
    lexicon: Path | None = None
    """Recordings: own pairs of heard and meant words (YAML), beside the packaged pediatric ones"""


class DeidentifySettings(Settings):
    """What identifies a person is replaced (rules, Chinese clinical, tuned to children)."""

    enabled: bool = True
    """Switch it off only for sources that hold no person"""
    exempt_kinds: list[SourceKind] = Field(default_factory=lambda: ["textbook", "guideline", "knowledge_graph"])
    """Kinds of sources that are left as they are: published books and tables"""
    key_file: Path | None = None
    """Where surrogates can be turned back: a file outside the run's folder, made if absent; null: irreversible"""
    floor_numbers: float = Field(default=0.98, ge=0.0, le=1.0)
    """Measured recall on numbers below which no corpus is published"""
    floor_names: float = Field(default=0.95, ge=0.0, le=1.0)
    """Measured recall on names below which no corpus is published"""


class CleanSettings(Settings):
    """What a text must have left after cleaning."""

    min_characters: int = Field(default=8, ge=1)
    """Sections of text shorter than this are rejected"""
    min_answer_characters: int = Field(default=6, ge=1)
    """Dialogues whose doctor says less than this in all are rejected ("好的", "谢谢")"""


class QualitySettings(Settings):
    """Small scored filters, each with its reason and threshold."""


class DeduplicateSettings(Settings):
    """Exact and near duplicates."""

    near: bool = True
    """Also drop near-duplicates, not only exact ones"""
    threshold: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity of character n-grams from which two texts are near-duplicates"""
    ngram: int = Field(default=3, ge=1, le=10)
    """Length of those n-grams, in characters"""


class EvaluationSetSettings(Settings):
    """A test set that no training set may contain."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Short name, shown in the leakage report"""
    path: Path
    """File, folder or glob, relative to the recipe; any shape that a source of kind dataset or conversation has"""


class DecontaminateSettings(Settings):
    """Every training set against the held-out rows and the test sets that are named here."""

    against: list[EvaluationSetSettings] = Field(default_factory=list)
    """Public benchmarks and own test sets; the run's own held-out rows always are one"""
    remove: bool = True
    """Remove matching training rows; false only reports them"""


class SplitSettings(Settings):
    """The deterministic split by group (document, dialogue, patient)."""

    held_out: float = Field(default=0.1, gt=0.0, le=0.5)
    """Share of the groups that no training set sees"""


class RolePlaySettings(Settings):
    """Questions and answers from textbooks, guidelines and knowledge graphs (without a teacher: extractive)."""

    min_answer_characters: int = Field(default=12, ge=1)
    """Sections with less text make no question"""
    max_answer_characters: int = Field(default=600, ge=50)
    """Longer sections are cut at a sentence end; the rest makes no further question"""


class ReconstructSettings(Settings):
    """Doctor-patient dialogues, as they are (without a teacher)."""

    max_characters: int = Field(default=2000, ge=100)
    """Dialogues longer than this are rejected"""


class BehaviourSettings(Settings):
    """Self-cognition rows: who the assistant is and what it is not."""

    name: str = "PediatricsGPT"
    """What the assistant calls itself"""
    file: Path | None = None
    """Own questions and answers (YAML, as `behaviour.yaml` in this package); null takes the packaged ones"""


class PreferenceSettings(Settings):
    """Preference pairs: general ones from sources of kind `preferences`, medical ones made after SFT."""

    medical_pairs: int = Field(default=100, ge=0)
    """How many training prompts the run's own SFT model answers, to give the low side of a pair"""
    max_new_tokens: int = Field(default=128, ge=1)
    """Length of those answers, in tokens"""
    max_prompt_characters: int = Field(default=400, ge=1)
    """Pairs with longer prompts are left out"""
    max_answer_characters: int = Field(default=600, ge=1)
    """Pairs of which one side is longer are left out"""


class HybridSettings(Settings):
    """The CPT stream: plain text together with instructions written as completions (hybrid instruction mechanism)."""

    instruction_share: float = Field(default=0.5, ge=0.0, le=0.9)
    """At most this share of the stream's characters comes from instructions"""
    max_characters: int = Field(default=1500, ge=100)
    """Plain text is cut into pieces of about this length, at sentence ends"""


class ExpertSetSettings(Settings):
    """The set of phase 4: the three pediatric tasks in equal numbers, plus general replay."""

    per_task: int = Field(default=2000, ge=1)
    """Rows per task; a task with more is sampled, one with fewer is repeated"""
    max_repeats: int = Field(default=4, ge=1)
    """How often one row may occur; where the smallest task is too small even so, all three have fewer rows"""
    general_replay: float = Field(default=0.1, ge=0.0, le=0.5)
    """Share of general rows from phase 2 in the whole set, against forgetting"""


class BuildSettings(Settings):
    """How the training sets are built, a block for each rule of the method."""

    role_play: RolePlaySettings = RolePlaySettings()
    reconstruct: ReconstructSettings = ReconstructSettings()
    behaviour: BehaviourSettings = BehaviourSettings()
    preferences: PreferenceSettings = PreferenceSettings()
    cpt: HybridSettings = HybridSettings()
    experts: ExpertSetSettings = ExpertSetSettings()


class CorpusSettings(Settings):
    """From sources to PedCorpus."""

    sources: list[SourceSettings] = Field(min_length=1)
    """The sources, in the order in which duplicates are kept: the first one wins"""
    engine: Literal["local", "ray"] = "local"
    """Where the steps run: processes of this machine, or a Ray cluster"""
    workers: int | None = Field(default=None, ge=1)
    """Processes of the local engine; null: as many as there are cores"""
    deidentify: DeidentifySettings = DeidentifySettings()
    clean: CleanSettings = CleanSettings()
    quality: QualitySettings = QualitySettings()
    deduplicate: DeduplicateSettings = DeduplicateSettings()
    decontaminate: DecontaminateSettings = DecontaminateSettings()
    split: SplitSettings = SplitSettings()
    build: BuildSettings = BuildSettings()

    @field_validator("sources")
    @classmethod
    def _distinct_names(cls, sources: list[SourceSettings]) -> list[SourceSettings]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are named {', '.join(twice)}: every source needs a name of its own")
        return sources
