"""How to fine-tune: the recipe's [train]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.ranges import Amount, Count, Fraction, Positive, Share, Size
from kgrec_core.training.objective import Objective

MEMBERS = "members"  # teachers that are no run: those of train.ensemble
BESIDE = ("bottleneck", "prefix", "prompt", "p_tuning", "cpt")  # adapters that are not merged, by their kinds or a part of these


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who teaches, besides the labels: [train.teacher].

    model: a run folder, or a language model: hub id, local folder or package:NAME; or "members": those of train.ensemble, once they have
        learned, teach one more fit. also: further ones; what all say is averaged, so that an ensemble is distilled into one.
    texts: unlabelled texts that are taught, too: .txt with one a line, or a table with a column for them. column: its name.
    what: "logits", "scores", "vectors", "probe"; without any: logits where both classify, scores where both rank, else vectors.
    temperature: by which "logits" and "probe" are softened. epochs: passes over all that is taught; weight: how often its batches are
        drawn, relative to others; batch: 0 = train.batch. first: before the labels, instead of mixed with them.
    query_prefix, candidate_prefix, max_length: of a language model that teaches ("query: " for e5).
    """

    model: str
    also: tuple[str, ...] = ()
    texts: Path | None = None
    column: str = "text"
    what: tuple[Literal["logits", "scores", "vectors", "probe"], ...] = ()
    temperature: Positive = 2.0
    epochs: Amount = 1.0
    weight: Amount = 1.0
    batch: Count = 0
    first: bool = False
    query_prefix: str = ""
    candidate_prefix: str = ""
    max_length: Size | None = None


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Queries in other words: [train.augment].

    how: the ways, one of which is drawn for each text. texts: share of the texts that are changed; share: of their words.
    synonyms: file with a group of words a line, separated by commas. translate: "my_file:name", a function from a list of texts to as many.
    """

    how: tuple[Literal["cutoff", "drop", "swap", "synonyms", "translate"], ...] = ("cutoff",)
    texts: Share = 0.5
    share: Share = 0.15
    synonyms: Path | None = None
    translate: Path | None = None

    def __post_init__(self) -> None:
        if not self.how:
            raise KgrecError('train.augment.how is empty; name "cutoff", "drop", "swap", "synonyms" or "translate"')


@dataclass(frozen=True, kw_only=True)
class Train:
    """Settings of the fine-tuning loop.

    epochs: passes over the training edges; steps: at most so many updates, contrastive ones aside (0 = no limit). batch: edges per update.
    repeats: learn from targets that a query met before, too; false leaves them to channels such as `repeat`.
    negatives: further candidates drawn uniformly into every batch. chunk: gradient caching (Gao et al. 2021): at most so many
        nodes of a batch in memory at once, same result; 0 = off.
    contrastive: passes before that over the queries of classifications, see `kgrec show objective contrastive`.
    objectives: what else is learned from, by name: `use` is of `kgrec list objective` or `my_file:MyObjective`. A table `supervised` or
        `contrastive` takes the place of what epochs or contrastive say.
    teacher: a run or a language model whose knowledge the fit learns, see `kgrec show train`.
    optimizer: "adamw" or "sgd" (momentum .9). lr: peak rate of weights that came pretrained; head_lr: of all others, the heads' and those
        of encoders that are new (the share of a history, a gate); warmup: share of the updates; schedule after it; clip: gradient norm.
    mined: so many hard negatives a pair, found anew after every validation; mined_margin: none that scores above 1 - margin times the target.
    augment: other words for queries, see `kgrec show train`. rdrop: weight of how far two passes with other dropout are apart; 0 = one pass.
    fgm: how far word embeddings are moved against the loss, 1 is usual; 0 = not.
    layer_decay: the rate of a layer as a share of that above it; 1 = all the same.
    validations: how often per fit the select queries are asked; patience: stop after so many without a gain
        (0 = never); min_delta: what is no gain yet.
    metric: what they measure; "none" = the head's own. weights: task -> how often it is trained, relative to the others; 0 = not.
    track: names of trackers that are told of every update: "tensorboard", "wandb", "mlflow"; track_to: the folder of those that write files.
    minutes: at most so long, then the best weights so far stay; 0 = as long as it takes. epochs = 0 fine-tunes nothing: it
        takes back what an earlier layer says of contrastive; a teacher and objectives that are named stay.
    precision: "bf16" where the device has it; "fp16" and "tf32" on CUDA. compile: the language model, by torch.
    gradient_checkpointing: layers are computed twice instead of kept in memory.
    freeze: "embeddings", a number (these and so many of the lowest layers), "gradual", or "all" that came pretrained.
    adapter: kind ("lora", "prefix", "bottleneck", any of peft's) and the keys of its own configuration.
    ensemble: fits with different seeds, the mean of whose weights is published; with train.teacher.model = "members" they teach one more.
    average: "ema" or "swa", see `kgrec show train`; average_decay: of "ema"; average_share: of the updates, the last ones, that "swa" averages.
    """

    epochs: Amount = 1.0
    steps: Count = 0
    batch: Size = 64
    repeats: bool = True
    negatives: Count = 0
    mined: Count = 0
    mined_margin: Amount = 0.05
    chunk: Count = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    contrastive: Amount = 0.0
    lr: Amount = 3e-5
    head_lr: Amount = 1e-3
    layer_decay: Fraction = 1.0
    weight_decay: Amount = 0.01
    warmup: Share = 0.1
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip: Amount = 1.0
    validations: Count = 5
    patience: Count = 0
    min_delta: Amount = 0.0
    augment: Augment | None = None
    rdrop: Amount = 0.0
    fgm: Amount = 0.0
    minutes: Amount = 0.0
    metric: str | None = None
    weights: Mapping[str, Amount] = field(default_factory=dict)
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    teacher: Teacher | None = None
    track: tuple[str, ...] = ()
    track_to: Path | None = None
    precision: Literal["fp32", "bf16", "fp16", "tf32"] = "fp32"
    compile: bool = False
    gradient_checkpointing: bool = False
    freeze: int | Literal["none", "embeddings", "gradual", "all"] = "none"
    adapter: Mapping[str, Any] = field(default_factory=dict)
    ensemble: Size = 1
    average: Literal["none", "ema", "swa"] = "none"
    average_decay: Fraction = 0.999
    average_share: Fraction = 0.25
    seed: Count = 0

    def __post_init__(self) -> None:
        if self.adapter and self.freeze != "none":
            raise KgrecError("train.adapter freezes the whole language model; remove train.freeze, or the adapter")
        if self.adapter and "kind" not in self.adapter:
            raise KgrecError('[train.adapter] needs the key \'kind\': "lora", "prefix", "bottleneck", or another type of peft\'s')
        if self.teacher and self.teacher.model == MEMBERS:
            if self.ensemble < 2:
                raise KgrecError(
                    'train.teacher.model = "members" are those of an ensemble; set train.ensemble = 3, or name a run ("./members" for a folder)'
                )
            if any(word in str(self.adapter.get("kind", "")).lower() for word in BESIDE):
                raise KgrecError(
                    f'train.teacher.model = "members": an adapter of kind {self.adapter["kind"]} is not merged, so its members cannot be asked later; '
                    'take kind = "lora", or fit runs and name them: train.teacher.model and train.teacher.also'
                )
