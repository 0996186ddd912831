"""Settings of the corpus room: which sources go in, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.settings import Settings

SourceKind = Literal[
    "textbook", "guideline", "knowledge_graph", "conversation", "recording", "dataset", "preferences", "text"
]


_MIN_GROUND = 2  # "MIT" says something, "-" does not


class SourceSettings(Settings):
    """One source. Licence, consent and purpose are required: a corpus about children without them is refused."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Short name, used in file names and on every row: small letters, digits, - and _"""
    kind: SourceKind
    """What it is: textbook, guideline, knowledge_graph, conversation, recording, dataset, preferences or text"""
    path: Path
    """File, folder or glob, relative to the recipe"""
    licence: str = Field(min_length=2)
    """The licence or legal ground of use; without one, a corpus about children is refused: nobody may use it"""
    consent: str = Field(min_length=2)
    """Basis of consent (no personal data; published anonymised; …); without one, a corpus about children is refused"""
    purpose: str = Field(min_length=2)
    """What it may be used for, for example training; without one it is refused: consent holds for a purpose"""
    retrieved: str = ""
    """Day on which it was obtained (YYYY-MM-DD), where known"""
    ocr: Literal["auto", "never"] = "auto"
    """Documents: `auto` reads pages without a text layer, and images, by OCR; `never` rejects them"""
    entities: Path | None = None
    """Knowledge graphs: folder or file of entity tables (surface form -> normal form) that are applied"""
    entity_score: float = Field(default=1.0, ge=0.0, le=1.0)
    """Knowledge graphs: score from which entries of those tables are applied that carry one (a machine made them)"""
    speech_model: Path | None = Field(default=None, validate_default=True)
    """Recordings: folder of a CTranslate2 Whisper model; required for kind recording"""
    lexicon: Path | None = None
    """Recordings: own pairs of heard and meant words (YAML), beside the packaged pediatric ones"""

    @field_validator("licence", "consent", "purpose", mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        """A blank is no answer: under what right children's data is used has to be written down."""
        if value is None or (isinstance(value, str) and len(value.strip()) < _MIN_GROUND):
            raise ValueError("says nothing: a corpus about children without licence, consent and purpose is refused")
        return value

    @field_validator("speech_model")
    @classmethod
    def _has_a_model(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """Nothing is fetched from a hub: what hears the recordings is a folder that the user names."""
        if value is None and info.data.get("kind") == "recording":
            raise ValueError("a source of kind recording needs it: the folder of a CTranslate2 Whisper model")
        return value


class DeidentifySettings(Settings):
    """What identifies a person is replaced (rules, Chinese clinical, tuned to children)."""

    enabled: bool = True
    """Switch it off only for sources that hold no person"""
    exempt_kinds: list[SourceKind] = Field(default=["textbook", "guideline", "knowledge_graph"])
    """Kinds of sources that are left as they are: published books and tables"""
    exempt_sources: list[str] = Field(default_factory=list)
    """Names of sources that are left as they are because they are about no patient: general knowledge, whose public
    persons and places must stay"""
    key_file: Path | None = None
    """Where surrogates can be turned back: a file outside the run's folder, made if absent; null: irreversible"""
    surrogates: Literal["realistic", "placeholder"] = "realistic"
    """Invented names in the place of names, or placeholders as for everything else"""
    max_shift_days: int = Field(default=60, ge=1, le=366)
    """Dates of a patient move by one constant number of days, at most this; 60 keeps the season"""
    ner_model: Path | None = None
    """Folder of a token-classification model (transformers) whose persons are added to those of the rules"""
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
    greetings: Literal["keep", "remove"] = "keep"
    """Openings (你好，) and wishes (祝早日康复) of answers: a doctor's manner, which stays by default"""
    repair_synonyms: bool = True
    """Undo the mechanical word replacements of some platform exports, only where the phrase is certain"""
    simplify: bool = True
    """Write traditional characters as simplified ones"""
    simplify_exempt: list[SourceKind] = Field(default_factory=list)
    """Kinds of sources whose characters stay as they are"""
    simplify_classical: bool = False
    """Also simplify texts in classical Chinese, where a character may stand for more than one word"""


class QualitySettings(Settings):
    """Small scored filters, each with its reason and threshold; null switches one off."""

    max_section_characters: int | None = Field(default=20_000, ge=1)
    """Sections of text longer than this are rejected: their file was not cut into sections"""
    max_dialogue_characters: int | None = Field(default=8_000, ge=1)
    """Dialogues and preference pairs longer than this are rejected"""
    min_question_characters: int | None = Field(default=2, ge=1)
    """Dialogues whose patient says less than this in all are rejected"""
    min_answered_characters: int | None = Field(default=2, ge=1)
    """What an answer must hold beyond greetings, thanks and goodbyes (不客气，祝您早日康复)"""
    max_repetition: float | None = Field(default=0.5, ge=0.0, le=1.0)
    """Share of a text that repeats itself: sentences said twice, loops"""
    min_han_share: float | None = Field(default=0.2, ge=0.0, le=1.0)
    """Share of Chinese characters, for texts that are not in Chinese"""
    max_garbled: float | None = Field(default=0.01, ge=0.0, le=1.0)
    """Share of letters that are traces of a wrong encoding (锟斤拷, Ã©)"""
    max_synonym_noise: float | None = Field(default=4.0, ge=0.0)
    """Thesaurus words in place of the doctor's (救治 for 治疗), per 100 characters; sound texts have less than 1.5"""
    max_promotion: float | None = Field(default=0.5, ge=0.0, le=1.0)
    """Weight of advertisement in an answer: contact details, praise of one hospital, sale of one product"""
    max_mismatch: float | None = Field(default=0.9, ge=0.0, le=1.0)
    """How little an answer has to do with its question, by words: at 0.9 only where they share nothing at all"""
    reject_unsafe: bool = True
    """Reject answers that recommend to a child what the table `unsafe.yaml` forbids at its age"""


class DeduplicateSettings(Settings):
    """Exact and near duplicates."""

    near: bool = True
    """Also drop near-duplicates, not only exact ones"""
    threshold: float = Field(default=0.8, ge=0.7, le=1.0)
    """Jaccard similarity of character n-grams from which two texts are near-duplicates"""
    ngram: int = Field(default=3, ge=1, le=10)
    """Length of those n-grams, in characters"""
    keep_differing_facts: bool = True
    """Keep near-duplicates that differ in a number, unit, drug, finding or negation; they still share a group"""


class EvaluationSetSettings(Settings):
    """A test set that no training set may contain."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Short name, shown in the leakage report"""
    path: Path
    """File, folder or glob, relative to the recipe; any shape that a source has, also questions without answers"""
    kind: Literal["dataset", "conversation"] = "dataset"
    """How the files are read: as instructions and preference pairs, or as dialogues (.dialog, transcripts)"""


class DecontaminateSettings(Settings):
    """Every training set against the held-out rows and the test sets that are named here."""

    against: list[EvaluationSetSettings] = Field(default_factory=list)
    """Public benchmarks and own test sets; the run's own held-out rows always are one"""
    remove: bool = True
    """Remove matching training rows; false only reports them"""
    ngram: int = Field(default=13, ge=8, le=20)
    """Length of the n-grams that are looked for, in characters (letters and digits)"""
    overlap: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of a test item's n-grams in a training row from which the row matches; shorter items must be there whole"""
    threshold: float = Field(default=0.8, ge=0.7, le=1.0)
    """Jaccard similarity of character 3-grams from which a training row matches a test item"""
    max_pairs: int = Field(default=1000, ge=0)
    """How many matched pairs the report lists for each training set; all are counted"""


class SplitSettings(Settings):
    """The deterministic split by group (document, dialogue, patient)."""

    held_out: float = Field(default=0.1, gt=0.0, le=0.5)
    """Share of the groups that no training set sees"""
    validation: float = Field(default=0.02, ge=0.0, le=0.2)
    """Share of the other groups on which a phase is watched while it trains (see `gate` of the phases): no training set
    sees them either; of scores only the perplexity of texts is taken on them. 0 watches nothing"""


class RolePlaySettings(Settings):
    """Questions and answers from textbooks, guidelines and knowledge graphs (without a teacher: extractive)."""

    min_answer_characters: int = Field(default=12, ge=1)
    """Sections with less text make no question"""
    max_answer_characters: int = Field(default=600, ge=50)
    """Longer sections are cut at a sentence end; the rest makes no further question (without a teacher)"""
    max_span_characters: int = Field(default=800, ge=100)
    """Longer sections are cut at sentence ends into spans; each makes a question and an answer (with a teacher)"""
    teacher: TeacherSettings | Literal["none"] | None = None
    """Its own teacher; null: that of the recipe; none: without a teacher, by extraction"""


class ReconstructSettings(Settings):
    """Doctor-patient dialogues, rewritten by a teacher, or as they are (without one)."""

    max_characters: int = Field(default=2000, ge=100)
    """Dialogues longer than this are rejected"""
    worked_pairs: int = Field(default=3, ge=0, le=4)
    """How many worked pairs (terse dialogue, rewritten turns) the teacher sees first"""
    teacher: TeacherSettings | Literal["none"] | None = None
    """Its own teacher; null: that of the recipe; none: without a teacher, as they are"""


DistillStep = Literal["correct_and_complete", "structured_with_evidence_and_safety_net", "humane_tone"]


class DistillSettings(Settings):
    """The good items of distilled sets, rewritten step by step by a teacher, or as they are (without one)."""

    min_answer_characters: int = Field(default=10, ge=1)
    """Items whose last answer is shorter are rejected"""
    max_characters: int = Field(default=4000, ge=100)
    """Items longer than this are rejected"""
    steps: list[DistillStep] = Field(
        default=["correct_and_complete", "structured_with_evidence_and_safety_net", "humane_tone"],
        min_length=1,
    )
    """The steps, in their order; each result is checked against the one before"""
    teacher: TeacherSettings | Literal["none"] | None = None
    """Its own teacher; null: that of the recipe; none: without a teacher, as they are"""


class BehaviourSettings(Settings):
    """Behaviour rows: who the assistant is and what it is not, and what it does where a child is in danger."""

    name: str = "PediatricsGPT"
    """What the assistant calls itself"""
    file: Path | None = None
    """Own questions and answers (YAML, as `behaviour.yaml` in this package); null takes the packaged ones"""
    maker: str = "由PediatricsGPT开源项目的工具链，在中文基础大模型上用儿科资料训练而成"
    """Who made it and how, as the end of a sentence, for example 由某某医院信息中心训练而成"""
    safety: bool = True
    """Also safety-measure instructions, from the packaged rule table or from `safety_file`"""
    safety_file: Path | None = None
    """Own safety instructions (YAML, as `safety_drugs.yaml` in this package); null takes the packaged ones"""


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
    safety_pairs: bool = True
    """Also pairs of aspect `safety`, from the rule table of the safety instructions"""
    teacher: TeacherSettings | Literal["none"] | None = None
    """Who rephrases the reference as the preferred side; null: the recipe's teacher; none: the reference as it is"""
    weaker: TeacherSettings | None = None
    """A weaker assistant that gives the low side; null: the run's own SFT model"""


class HybridSettings(Settings):
    """The CPT stream: plain text together with instructions written as completions (hybrid instruction mechanism)."""

    instruction_share: float = Field(default=0.5, ge=0.0, le=0.9)
    """At most this share of the stream comes from instructions"""
    general_share: float = Field(default=0.1, ge=0.0, le=0.9)
    """At most this share of the stream comes from general text (sources of kind text), against forgetting"""
    unit: Literal["characters", "tokens"] = "characters"
    """What the shares are counted in: characters, or tokens of the base model's tokenizer"""
    max_characters: int = Field(default=1500, ge=100)
    """Plain text is cut into pieces of about this length, at sentence ends"""


class GeneralSettings(Settings):
    """General rows for SFT and replay, besides the general dialogues and distilled items of the sources."""

    preference_share: float = Field(default=0.25, ge=0.0, le=1.0)
    """Share of the general preference pairs whose preferred side becomes an instruction; those make no pair"""


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
    distill: DistillSettings = DistillSettings()
    behaviour: BehaviourSettings = BehaviourSettings()
    general: GeneralSettings = GeneralSettings()
    preferences: PreferenceSettings = PreferenceSettings()
    cpt: HybridSettings = HybridSettings()
    experts: ExpertSetSettings = ExpertSetSettings()


class CorpusSettings(Settings):
    """From sources to PedCorpus."""

    sources: list[SourceSettings] = Field(min_length=1)
    """The sources in reading order: of several duplicates the best by quality is kept, of equals the first"""
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

    @model_validator(mode="after")
    def _exempt_sources_exist(self) -> CorpusSettings:
        unknown = sorted(set(self.deidentify.exempt_sources) - {source.name for source in self.sources})
        if unknown:
            raise ValueError(f"deidentify.exempt_sources names {', '.join(unknown)}, and there is no such source")
        return self

    @property
    def names_patients(self) -> bool:
        """Whether any source is to be de-identified; in published books alone there is nobody to be found."""
        exempt = self.deidentify
        return not all(
            source.kind in exempt.exempt_kinds or source.name in exempt.exempt_sources for source in self.sources
        )
