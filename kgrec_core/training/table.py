"""What fine-tuning can do beside a plain loop, each with its keys: the one table that `kgrec show train` prints and the docs contain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kgrec_core.training.options import Train
    from kgrec_core.training.technique import Technique


class Row(NamedTuple):
    """keys: of the recipe, dotted, the first what switches it on. asked: whether a recipe does; made: the technique, "module:Class", given its
    options by `with_`. Both None: something else of the loop, an objective or a head does it.
    """

    keys: str
    does: str
    when: str
    source: str = ""
    asked: Callable[[Train], bool] | None = None
    made: str = ""
    with_: tuple[str, ...] = ()


HERE = "kgrec_core.training"
ROWS = (
    Row("train.epochs train.steps train.batch train.repeats train.seed", "passes over the tasks' edges, of so many an update", "always"),
    Row("train.objectives train.contrastive train.weights", "what else is learned from, before or beside the tasks' own edges", "`kgrec list objective` says", "Khosla et al. 2020; Tunstall et al. 2022 (SetFit)"),
    Row("train.teacher", "a run, a language model, or several of them by their mean, teach probabilities, scores or vectors, also on unlabelled text", "a small model shall serve what a large one knows", "Hinton et al. 2015; Hofstaetter et al. 2020 (MarginMSE); Reimers & Gurevych 2020"),
    Row("train.freeze", "the embeddings, the lowest layers or all that came pretrained stay; or layers open one by one", "few examples; embeddings of many languages", "Howard & Ruder 2018 (ULMFiT)", lambda o: o.freeze != "none", f"{HERE}.freezing:Freezing", ("freeze",)),
    Row("train.adapter", "a few new weights learn in the language model's place, merged at the end where that can be", "large models, little memory", "Hu et al. 2021 (LoRA); Li & Liang 2021; Houlsby et al. 2019", lambda o: bool(o.adapter), f"{HERE}.adapter:Adapter", ("adapter", "seed")),
    Row("train.negatives", "further candidates as wrong answers of every batch", "small batches, large catalogues"),
    Row("train.mined train.mined_margin", "each query's hardest wrong candidates come into its batch, guarded against unlabelled right ones", "rankings, once random negatives are easy", "Xiong et al. 2021 (ANCE); Moreira et al. 2024 (NV-Retriever)", lambda o: o.mined > 0, f"{HERE}.mining:Mining", ("mined", "mined_margin")),
    Row("train.augment", "queries are read in other words: cutoff, drop, swap, synonyms, translate", "few examples", "Shen et al. 2020; Wei & Zou 2019 (EDA); Sennrich et al. 2016", lambda o: o.augment is not None, f"{HERE}.augment:Augmenting", ("augment",)),
    Row("train.rdrop", "each batch twice, with other dropout: both answers shall agree", "few examples, classifications; half the speed", "Liang et al. 2021 (R-Drop)", lambda o: o.rdrop > 0, f"{HERE}.rdrop:RDrop", ("rdrop",)),
    Row("train.fgm", "each batch again with word embeddings moved to where the loss is higher", "noisy, short texts; half the speed", "Miyato et al. 2017", lambda o: o.fgm > 0, f"{HERE}.adversarial:Fgm", ("fgm",)),
    Row("head.TASK.label_smoothing", "the target shares some of its probability with all candidates", "labels that are sometimes wrong", "Szegedy et al. 2016"),
    Row("head.TASK.focal head.TASK.class_weights", "what is nearly certain counts less; rare classes count more", "unbalanced classes", "Lin et al. 2017 (focal loss)"),
    Row("encoder.dropout", "another dropout than the language model came with", "few examples: more; distillation: 0", "Srivastava et al. 2014"),
    Row("train.validations train.patience train.min_delta train.metric train.minutes", "the best weights on the select queries stay; early stopping", "always", "Prechelt 1998"),
    Row("train.optimizer train.weight_decay", "AdamW in one kernel, or SGD with momentum; no decay of biases and norms", "AdamW, unless memory is short", "Loshchilov & Hutter 2019"),
    Row("train.lr train.head_lr", "one rate for what came pretrained, another for what is new", "always"),
    Row("train.layer_decay", "each layer learns less than the one above it", "few examples, large models: .8 to .95", "Clark et al. 2020 (ELECTRA)"),
    Row("train.schedule train.warmup train.clip", "the rate rises, then falls; long gradients are shortened", "always"),
    Row("train.chunk", "gradient caching: a batch of any size in the memory of a chunk, same gradients", "contrastive batches beyond the memory", "Gao et al. 2021 (GradCache)"),
    Row("train.gradient_checkpointing", "layers are computed twice instead of kept", "long texts, large models", "Chen et al. 2016", lambda o: o.gradient_checkpointing, f"{HERE}.passes:Checkpointing"),
    Row("train.precision", "fp32, bf16, fp16 with loss scaling, tf32", "bf16 where the processor has it (`kgrec doctor`); emulated it is many times slower", "Micikevicius et al. 2018", lambda o: o.precision == "tf32", f"{HERE}.passes:Tf32"),
    Row("train.compile", "the language model as one compiled graph", "thousands of updates on a GPU", "Ansel et al. 2024 (PyTorch 2)", lambda o: o.compile, f"{HERE}.passes:Compiled"),
    Row("train.ensemble", "several seeds, whose weights are averaged into one model where that is no worse, or that teach one more: `train.teacher.model = \"members\"`; runs that cannot be averaged teach one: `train.teacher.also`", "few examples, time to spare; n times the time", "Wortsman et al. 2022 (Model Soups)"),
    Row("train.average train.average_decay train.average_share", "the mean of the weights on their way is validated and published", "noisy validations, many updates", "Polyak & Juditsky 1992; Izmailov et al. 2018 (SWA)", lambda o: o.average != "none", f"{HERE}.averaging:Averaging", ("average", "average_decay", "average_share")),
    Row("train.objectives.NAME.use=simcse", "texts without labels, each near itself under other dropout, before the labels", "few labels, texts unlike the model's own", "Gao, Yao & Chen 2021"),
    Row("train.objectives.NAME.use=tsdae", "texts without labels told again from a few of their words, before the labels", "as simcse; slower", "Wang, Reimers & Gurevych 2021"),
    Row("train.objectives.NAME.use=pseudo", "self-training: texts that an earlier run, of this or a larger model, is sure of by its calibrated threshold; what it says is spread to the nearest texts", "few labels, many texts", "Lee 2013; Mukherjee & Awadallah 2020; Zhou et al. 2003; Iscen et al. 2019"),
    Row("train.objectives.NAME.use=catalogue", "first, with every text encoded once, thousands of updates of what stands above the language model, against the whole catalogue or, where it is large, a corrected sample (logQ); then its layers are opened", "rankings, encoders that learn above their texts; milliseconds an update", "Klenitskiy & Vasilev 2023; Bengio & Senecal 2008"),
    Row("train.track train.track_to", "TensorBoard, Weights & Biases (offline), MLflow are told of every update", "to watch long fits"),
    Row("encoder.train_layers encoder.trunk", "only the last layers learn; what the others make of a text is computed once and kept on disk", "large models on a CPU", "Lee et al. 2019 (What would Elsa do?)"),
)  # fmt: skip


def techniques(options: Train) -> list[Technique]:
    """Those that the options ask for, in the table's order: what changes the model stands before what looks at it."""
    from importlib import import_module

    found = []
    for row in ROWS:
        if row.asked is not None and row.asked(options):
            module, _, name = row.made.partition(":")
            found.append(getattr(import_module(module), name)(*(getattr(options, key) for key in row.with_)))
            found[-1].key = row.keys.partition(" ")[0]
    return found
