"""Settings and choices named as in other trainers: the message names ours, and what it names works."""

import pathlib
import re
from dataclasses import replace

import pytest

from mtjax import config
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks.pair import PairTask
from mtjax.errors import InputError
from mtjax.io import foreign_names
from mtjax.io.command_line import parse
from mtjax.io.words import names_of
from mtjax.mistakes.mining import MineConfig, MineData
from mtjax.model.adapters.lora import Lora
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.label_smoothing import LabelSmoothing

TINY = pathlib.Path(__file__).parent.parent / "configs" / "tiny.py"
DPO = "objective:dpo data.task:pair"

TRAIN = [  # what a user writes | what the message must name, and what then works (words of the message, values added)
    ("--lora_r=8", "model.adapter:lora --model.adapter.rank=8"),
    ("--lr=1e-3", "--optim.learning_rate=1e-3"),
    ("-lr 1e-3", "--optim.learning_rate=1e-3"),
    ("--learning-rate 1e-3", "--optim.learning_rate=1e-3"),
    ("--optim.lr=1e-3", "--optim.learning_rate=1e-3"),
    ("--optim.peak_lr=1e-3", "--optim.learning_rate=1e-3"),
    ("--epochs=3", "--steps=3"),
    ("--num_train_epochs=3", "--steps=3"),
    ("--max_steps=100", "--steps=100"),
    ("steps=10", "--steps=10"),
    ("--per_device_train_batch_size=4", "--batch_size=8"),
    ("--gradient_accumulation_steps=2", "--micro_batches=2"),
    ("--max_seq_length=512", "--data.sequence_length=512"),
    ("--data.max_length=512", "--data.sequence_length=512"),
    ("--warmup_ratio=0.1", "--optim.warmup_steps=6"),
    ("--num_warmup_steps=5", "--optim.warmup_steps=5"),
    ("--weight_decay=0.1", "--optim.weight_decay=0.1"),
    ("--max_grad_norm=1", "--optim.clip_norm=1"),
    ("--adam_beta1=0.9", "--optim.b1=0.9"),
    ("--optim.beta2=0.9", "--optim.b2=0.9"),
    ("--adam_epsilon=1e-8", "--optim.eps=1e-8"),
    ("--lr_scheduler_type=cosine", "--optim.schedule=cosine"),
    ("--optim=adamw", "--optim.optimizer=adamw"),
    ("optim.optimizer:adamw_torch", "optim.optimizer:adamw"),
    ("--optim.schedule=cosine_with_min_lr", "optim.schedule:cosine"),
    ("--beta=0.1", f"{DPO} --objective.beta=0.1"),
    ("--loss_type=ipo", f"{DPO} --objective.kind=ipo"),
    (f"{DPO} --objective.loss_type=ipo", f"{DPO} --objective.kind=ipo"),
    (f"{DPO} --label_smoothing=0.1", f"{DPO} --objective.label_smoothing=0.1"),
    ("objective=dpo", "objective:dpo data.task:pair"),
    ("--objective:dpo", "objective:dpo data.task:pair"),
    ("objective:dpo", "data.task:pair objective:dpo"),
    ("--objective=sft", "objective:nll"),
    ("objective:sft", "objective:nll"),
    ("objective:ipo", "objective:dpo data.task:pair --objective.kind=ipo"),
    ("data.task:preference", "data.task:pair objective:dpo"),
    ("data.task:sft", "data.task:completion objective:nll"),
    ("data.task:messages", "data.task:chat objective:nll"),
    ("source:gsm8k", "--data.source.path=x.jsonl source:gsm8k"),
    ("optimizer:adam", "optim.optimizer:adamw"),
    ("schedule:cosine_decay", "optim.schedule:cosine"),
    ("--batch=8", "--batch_size=8"),
    ("--data.path=x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("--data.file=x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("--max_prompt_length=64", "--data.sequence_length=64"),
    ("--overwrite_output_dir=True", "--overwrite=True"),
    ("data.source:gsm8k", "--data.source.path=x.jsonl data.source:gsm8k"),
    ("data.source:x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("data.source:data/x.json", "data.source:jsonl --data.source.path=data/x.json"),
    ("--data.source=x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("data.source:csv", "data.source:files --data.source.path=x.csv"),
    ("data.source:parquet", "data.source:files --data.source.path=x.parquet"),
    ("--eval_batch_size=4", "--batch_size=8"),
    ("--gradient_accumulation=4", "--micro_batches=4"),
    ("--resume=True", "--run_dir=runs/x"),
    ("--simpo_gamma=0.5", "objective:simpo data.task:pair --objective.gamma=0.5"),
    ("--pref_beta=0.1", f"{DPO} --objective.beta=0.1"),
    ("--use_flash_attention_2=True", "--model.attention=auto"),
    ("--model.max_position_embeddings=512", "--model.max_length=512"),
    ("--patience=3", "early_stopping:early_stopping --early_stopping.patience=3"),
    ("learning_rate=1e-3", "--optim.learning_rate=1e-3"),
    ("--dataset=x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("--train_file=x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("--eval_dataset=x.jsonl", "held_out:held_out held_out.source:jsonl --held_out.source.path=x.jsonl"),
    ("--eval_steps=10", "--held_out.every=10"),
    ("--output_dir=runs/x", "--run_dir=runs/x"),
    ("--resume_from_checkpoint=runs/x", "--run_dir=runs/x"),
    ("--model_name_or_path=smollm2", "--init_from=smollm2"),
    ("--model=smollm2", "--init_from=smollm2"),
    ("--model.hidden_size=64", "--model.width=64"),
    ("--model.num_hidden_layers=3", "--model.layers=3"),
    ("--bf16=True", "--model.dtype=bfloat16"),
    ("--model.dtype=bf16", "--model.dtype=bfloat16"),
    ("--gradient_checkpointing=True", "--model.remat=full"),
    ("--save_steps=10", "--checkpoint.every=10"),
    ("--save_total_limit=2", "--checkpoint.keep=2"),
    ("--logging_steps=5", "--log_every=5"),
    ("--report_to=wandb", "tracker:wandb --tracker.mode=offline"),
    ("--tensor_parallel_size=2", "--mesh.tensor=2"),
    ("--mesh=fsdp", "--mesh.fsdp=1"),
    ("--ref_model=smollm2", "--reference.model=smollm2"),
    ("--live_filter=None", "live_filter:none"),
    ("--packing=True", "--data.pack=True"),
    ("--tokenizer_name=bytes", "--data.tokenizer=bytes"),
    ("--data.source.path=x.jsonl", "data.source:jsonl --data.source.path=x.jsonl"),
    ("--label_smoothing_factor=0.1", "objective:label_smoothing --objective.epsilon=0.1"),
    ("--rpo_alpha=1", f"{DPO} --objective.nll_weight=1"),
    ("--reference_free=True", "objective:simpo data.task:pair"),
    ("--completion_only_loss=True", "--data.task.loss_on=rationale"),
    ("--chat_template=chatml", "--data.task.template=chat"),
    ("--dataloader_num_workers=4", "--data.workers=4"),
    ("--load_in_4bit=True", "model.adapter:lora --model.adapter.rank=8"),
    ("--deepspeed=ds.json", "--mesh.fsdp=1"),
    ("--mesh=2,1", "--mesh.data=2"),
    ("data.source:alpaca", "data.source:jsonl --data.source.path=x.jsonl"),
    ("--early_stopping_patience=3", "--early_stopping.patience=3 early_stopping:early_stopping"),
]
MINE = [
    ("--n=4", "--samples=4"),
    ("--num_return_sequences=4", "--samples=4"),
    ("--max_tokens=64", "--max_new_tokens=64"),
    ("--temp=0.7", "--temperature=0.7"),
    ("--max_samples=10", "--limit=10"),
    ("--output_dir=x", "--output=x"),
]


SHARED = [  # tyro needs half a second a row: every eighth by default, all under `slow`
    pytest.param(*row, marks=() if number % 8 == 0 else pytest.mark.slow) for number, row in enumerate(TRAIN)
]


def test_every_way_out_of_the_table_is_a_setting_of_a_command():
    tiny = config.read_file(TINY)
    settings = (
        tiny,
        MineConfig(data=MineData(source=Arithmetic())),
        replace(tiny, objective=Dpo(), data=replace(tiny.data, task=PairTask())),
        replace(tiny, objective=LabelSmoothing()),
        replace(tiny, model=replace(tiny.model, adapter=Lora())),
    )
    names = {name for made in settings for name, _ in names_of(made)}
    parts = {name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)} | {"held_out.source"}
    words = {word for ways in foreign_names._table().values() for ours, _ in ways for word in ours.split()}
    words = {word for word in words if not word.isupper()}  # values, such as NAMES
    assert {re.split("[:=]", word.lstrip("-"))[0] for word in words} - names - parts <= {
        *("early_stopping.patience", "held_out.every", "held_out.batches", "held_out.source.path", "data.source.path")
    }


@pytest.mark.parametrize(("words", "works"), SHARED)
def test_train_names_our_word_for_a_foreign_one_and_it_works(words, works):
    with pytest.raises(InputError) as caught:
        config.load(TINY, words.split())
    assert works.split()[0].split("=")[0] in str(caught.value)
    config.load(TINY, works.split())


@pytest.mark.parametrize(
    ("words", "works"), [MINE[0], *(pytest.param(*row, marks=pytest.mark.slow) for row in MINE[1:])]
)
def test_mine_names_our_word_for_a_foreign_one_and_it_works(words, works):
    options = MineConfig(data=MineData(source=Arithmetic()))
    with pytest.raises(InputError) as caught:
        parse(options, words.split(), "mine")
    assert works.split("=")[0] in str(caught.value)
    parse(options, works.split(), "mine")


@pytest.mark.parametrize(
    "words",
    [
        "--push_to_hub=True",
        "--temperature=0.7",
        "--use_ema=True",
        "--load_best_model_at_end=True",
    ],
)
def test_nothing_is_suggested_where_nothing_is_like_it(words):
    with pytest.raises(InputError, match=f"^unknown setting {words.split('=')[0]}; --help lists all$"):
        config.load(TINY, words.split())


@pytest.mark.parametrize("words", ["objective:ppo", "objective:grpo", "--objective=grpo", "optim.optimizer:shampoo"])
def test_a_method_that_is_not_offered_is_not_answered_with_another_one(words):
    with pytest.raises(InputError, match=r"^unknown (objective|optim.optimizer) '\w+'; \(known: "):
        config.load(TINY, [words])


@pytest.mark.parametrize("words", ["--objective.kind ipo", "--data.source.columns a b", "--lora_r 8"])
def test_a_value_behind_a_space_is_answered_like_one_behind_an_equals_sign(words):
    name, *_ = words.split()
    with pytest.raises(InputError) as caught:
        config.load(TINY, words.split())
    assert re.match(rf"{name} is a setting of (another|other) choice|unknown setting {name}; ", str(caught.value))
    assert len(str(caught.value)) < 200


OF_CHOICES = [  # a setting of a choice that is not made | the choice that has it, with this value | what then works
    ("--objective.kind ipo", "objective:dpo", f"{DPO} --objective.kind=ipo"),
    ("--objective.kindd=ipo", "objective:dpo", f"{DPO} --objective.kind=ipo"),
    ("--dpo.beta=0.3", "objective:dpo --objective.beta=0.3", f"{DPO} --objective.beta=0.3"),
    ("--optim.momentum=0.5", "optim.optimizer:adafactor --optim.optimizer.momentum=0.5", None),
    ("--average.decay=0.9", "optim.average:ema --optim.average.decay=0.9", None),
    ("--lora.rank=8", "model.adapter:lora --model.adapter.rank=8", None),
]


@pytest.mark.parametrize(("words", "named", "works"), OF_CHOICES)
def test_a_setting_of_a_choice_that_is_not_made_names_the_choice_that_has_it(words, named, works):
    with pytest.raises(InputError) as caught:
        config.load(TINY, words.split())
    assert named in str(caught.value)
    config.load(TINY, (works or named).split())


def test_words_of_every_command_work_in_training():
    config.load(TINY, ["task:pair", "objective:dpo"])


def test_no_suggestion_of_a_source_for_a_word_that_is_like_none():
    with pytest.raises(InputError, match=r"unknown data.source 'parkett'; \(known"):
        config.load(TINY, ["data.source:parkett"])
