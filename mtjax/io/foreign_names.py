"""Names of settings in other trainers (TRL, transformers, Axolotl, MaxText, vLLM), and what they are here."""

from collections.abc import Callable, Container

_SETTINGS = """
--optim.learning_rate <- lr peak_lr max_lr learning_rate base_lr initial_lr
--optim.warmup_steps <- warmup warmup_steps warmup_iters num_warmup_steps lr_warmup_steps
--optim.warmup_steps <- warmup_ratio warmup_fraction warmup_steps_fraction | a number of updates, not a share of them
--optim.schedule <- schedule scheduler lr_scheduler lr_scheduler_type lr_schedule_type lr_schedule
--optim.schedule_steps <- decay_steps lr_decay_iters lr_decay_steps learning_rate_schedule_steps
--optim.end_fraction <- min_lr_ratio final_lr_fraction cosine_learning_rate_final_fraction
--optim.end_fraction <- min_lr end_lr | a share of the learning rate
--optim.optimizer <- optimizer optim optim_type opt opt_type optimizer_type
--optim.b1 <- beta1 adam_beta1 adam_b1
--optim.b2 <- beta2 adam_beta2 adam_b2
--optim.b1 <- betas adam_betas | and --optim.b2, one number each
--optim.eps <- epsilon adam_epsilon adam_eps
--optim.weight_decay <- weight_decay wd adam_weight_decay
--optim.clip_norm <- max_grad_norm grad_clip gradient_clip gradient_clipping clip_grad gradient_clipping_threshold \
gradient_clip_val grad_clip_norm max_norm
--optim.layer_decay <- layerwise_lr_decay layer_wise_decay llrd
--steps <- epochs num_epochs num_train_epochs max_epochs n_epochs | a number of updates, not epochs
--steps <- max_steps num_steps num_train_steps train_steps total_steps max_iters n_steps iters iterations
--batch_size <- eval_batch_size per_device_eval_batch_size | held-out data has the same
--batch_size <- per_device_train_batch_size train_batch_size per_device_batch_size global_batch_size bs batch \
total_batch_size micro_batch_size | rows of an update over all devices and micro-batches
--micro_batches <- gradient_accumulation gradient_accumulation_steps grad_accum grad_accumulation \
accumulation_steps accumulate_grad_batches
--data.sequence_length <- max_seq_length max_seq_len max_length seq_len seq_length block_size max_target_length \
context_length cutoff_len model_max_length sequence_len train_seq_len
--data.sequence_length <- max_prompt_length | of prompt and answer together
--data.pack <- packing sample_packing pack
--data.tokenizer <- tokenizer tokenizer_name tokenizer_name_or_path tokenizer_path
--data.truncation <- truncation truncation_mode truncation_side
data.source:jsonl --data.source.path=FILE <- dataset dataset_name dataset_path train_dataset train_file \
train_files data_path data_files dataset_name_or_path train_data data data.path data.file data.files \
data.dataset data.source.path | or data.source:hub --data.source.path=OWNER/NAME
held_out:held_out held_out.source:jsonl --held_out.source.path=FILE <- eval_dataset eval_file \
validation_file val_data eval_data validation_dataset held_out.path held_out.file held_out.source.path
--held_out.every <- eval_steps eval_interval eval_every eval_freq val_check_interval eval_strategy \
evaluation_strategy
early_stopping:early_stopping --early_stopping.patience=NUMBER <- patience early_stopping_patience
--held_out.batches <- eval_iters eval_batches max_eval_batches limit_val_batches
--checkpoint.every <- save_steps save_every save_interval checkpoint_period save_freq ckpt_every save_strategy
--checkpoint.keep <- save_total_limit keep_last max_to_keep max_checkpoints keep_checkpoints
--checkpoint.folder <- checkpoint_dir ckpt_dir checkpoint_path
--run_dir <- resume resume_from resume_training resume_from_checkpoint | the same command with the same folder goes on
--run_dir <- output_dir output_folder out_dir save_dir logging_dir base_output_directory \
run_name save_path log_dir
--overwrite <- overwrite_output_dir
--init_from <- model model_name model_name_or_path pretrained pretrained_model_name_or_path base_model model_id \
model_path load_parameters_path
--init_from <- checkpoint load_checkpoint init_checkpoint ckpt | to start from; --run_dir goes on with a run
--log_every <- logging_steps log_interval log_steps logging_interval log_period
tracker:NAME <- report_to logger log_with | wandb, trackio or mlflow; --tensorboard is on
--tensorboard <- use_tensorboard
--reference.model <- ref_model ref_model_name_or_path reference_model model_ref
--objective.beta <- beta dpo_beta kl_coef pref_beta
objective:dpo data.task:pair --objective.beta=VALUE <- beta dpo_beta kl_coef pref_beta
--objective.label_smoothing <- label_smoothing
objective:dpo data.task:pair --objective.label_smoothing=SHARE <- label_smoothing
objective:label_smoothing --objective.epsilon=SHARE <- label_smoothing_factor
objective:simpo data.task:pair --objective.gamma=VALUE <- simpo_gamma cpo_simpo_gamma
objective:dpo data.task:pair --objective.nll_weight=VALUE <- rpo_alpha sft_weight
objective:simpo data.task:pair <- reference_free ref_free | orpo and cpo do without a reference too
--objective.kind <- loss_type dpo_loss_type
objective:dpo data.task:pair --objective.kind=KIND <- loss_type dpo_loss_type
objective:NAME <- objective loss loss_fn trainer method algorithm | `python -m mtjax.list objective`
data.task:NAME <- task task_type | `python -m mtjax.list task`
--data.task.loss_on <- completion_only_loss assistant_only_loss response_only train_on_inputs
--data.task.template <- chat_template | chat takes the tokenizer's own
--data.workers <- dataloader_num_workers dataset_num_proc preprocessing_num_workers num_proc
--model.dtype <- dtype torch_dtype bf16 fp16 mixed_precision precision param_dtype compute_dtype
--model.remat <- gradient_checkpointing remat remat_policy activation_checkpointing use_remat
--model.attention <- attn_implementation attention use_flash_attention use_flash_attention_2 flash_attention \
use_flash_attn
--model.width <- hidden_size d_model n_embd embed_dim emb_dim base_emb_dim dim
--model.layers <- num_hidden_layers n_layers num_layers n_layer base_num_decoder_layers
--model.heads <- num_attention_heads n_heads num_heads n_head num_query_heads
--model.neftune_alpha <- neftune_noise_alpha noise_alpha neftune_alpha
--reference.refresh_every <- ref_model_sync_steps
--reference.mix <- ref_model_mixup_alpha
--model.kv_heads <- num_key_value_heads n_kv_heads num_kv_heads
--model.mlp_width <- intermediate_size d_ff ffn_dim mlp_dim hidden_dim
model.adapter:lora --model.adapter.rank=RANK <- lora_r lora_rank rank lora_dim use_lora use_peft peft_type adapter
model.adapter:lora --model.adapter.rank=RANK <- load_in_4bit load_in_8bit quantization quantize \
use_qlora qlora | weights are not quantised; the frozen ones may be bfloat16
model.adapter:lora --model.adapter.alpha=ALPHA <- lora_alpha
model.adapter:lora --model.adapter.dropout=SHARE <- lora_dropout
model.adapter:lora --model.adapter.targets NAMES <- target_modules lora_target_modules lora_target lora_modules
model.adapter:lora --model.adapter.dora <- use_dora
model.adapter:lora --model.adapter.rslora <- use_rslora
--model.max_length <- max_position_embeddings n_positions
--model.tied <- tie_word_embeddings tie_embeddings
--mesh.tensor <- tensor_parallel tensor_parallel_size tp tp_size tensor_model_parallel_size ici_tensor_parallelism
--mesh.data <- mesh device_mesh mesh_shape | and fsdp, tensor, context and expert of mesh, one number each
--mesh.fsdp <- deepspeed zero_stage zero fsdp_config | how many devices share the parameters
--mesh.fsdp <- fsdp fsdp_size ici_fsdp_parallelism dp_shard
--mesh.data <- ddp data_parallel data_parallel_size dp dp_size ici_data_parallelism num_devices num_gpus nproc_per_node
--mesh.context <- context_parallel context_parallel_size cp sequence_parallel
--mesh.expert <- expert_parallel expert_parallel_size ep
--seed <- data_seed random_seed
--max_new_tokens <- max_tokens max_completion_tokens max_new max_generated_tokens max_gen_toks max_output_tokens \
max_completion_length
--samples <- n num_samples n_samples num_return_sequences num_generations best_of rollout_n
--temperature <- temp sampling_temperature
--limit <- max_samples max_examples num_examples num_problems
--output <- out output output_path output_file save
--server.concurrency <- num_workers workers max_concurrency num_concurrent
"""

_CHOICES = {
    ("objective", "nll"): "sft ce cross_entropy lm causal_lm clm",
    ("objective", "mistake_tuning"): "mistake mistakes mt",
    ("objective", "dpo"): "ipo cdpo preference exo nca sppo discopop cal_dpo rpo mpo wpo dpop ld_dpo",
    ("objective", "bco"): "apo apo_zero_unpaired",
    ("objective", "cpo"): "slic",
    ("objective", "simpo"): "alphapo",
    ("objective", "gce"): "generalized_cross_entropy",
    ("task", "completion"): "sft text instruct instruction lm prompt_completion",
    ("task", "pair"): "preference preferences dpo pairs",
    ("task", "chat"): "messages conversation conversational sharegpt",
    ("source", "jsonl"): "json file jsonlines text alpaca sharegpt ultrafeedback hh_rlhf kto prm preference messages",
    ("source", "files"): "csv tsv parquet arrow folder",
    ("source", "hub"): "huggingface hf datasets",
    ("optimizer", "adamw"): "adam adamw_torch adamw_torch_fused fused_adam adamw_8bit",
    ("schedule", "constant"): "none fixed constant_with_warmup",
    ("schedule", "linear"): "linear_decay polynomial",
    ("schedule", "cosine"): "cosine_decay cosine_with_min_lr warmup_cosine",
}
"""Foreign names of registered classes, by the last word of the setting and our name."""


def _table() -> dict[str, list[tuple[str, str]]]:
    """For each foreign name the ways out that may be meant, each with a remark."""
    table: dict[str, list[tuple[str, str]]] = {}
    for line in _SETTINGS.replace("\\\n", "").strip().splitlines():
        ours, _, rest = line.partition(" <- ")
        names, _, remark = rest.partition(" | ")
        for name in names.split():
            table.setdefault(name, []).append((ours, remark))
    return table


def our_setting(name: str, known: Callable[[str], bool], whole: bool = False) -> str | None:
    """The way out for a foreign name of a setting, dashes and part included: `--optim.learning_rate` for `--optim.lr`.

    None where the name is not in the table, with its part in front (`whole`) or without it, or `known` (of a dotted
    name without dashes) is false for what it means.

    >>> our_setting("--warmup_ratio", "optim.warmup_steps".__eq__)
    '--optim.warmup_steps (a number of updates, not a share of them)'
    """
    foreign, table = name.lstrip("-").replace("-", "_").lower(), _table()
    for ours, remark in table.get(foreign) or table.get("" if whole else foreign.rpartition(".")[2], []):
        first = ours.split(" ")[0].lstrip("-").partition(":")[0]
        if known(first) and ours != name:
            return f"{ours}{f' ({remark})' if remark else ''}"
    return None


_NOT_OFFERED = """ppo grpo rloo reinforce gspo dapo online_dpo xpo spin gkd reward rm prm
    adafactor sgd muon sophia adagrad rmsprop lamb shampoo soap"""
NOT_OFFERED = frozenset(_NOT_OFFERED.split())
"""Methods of other trainers for which nothing here stands, so that no similar name is suggested."""


def our_choice(part: str, name: str, known: Container[str] | None = None) -> str | None:
    """The registered name for a foreign one: `nll` for `objective:sft`; None where there is none (among `known`)."""
    of_part = {ours: names for (last, ours), names in _CHOICES.items() if last == part.rpartition(".")[2]}
    return next(
        (ours for ours, names in of_part.items() if name.lower() in names.split() and (known is None or ours in known)),
        None,
    )
