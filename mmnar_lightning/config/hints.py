"""What an unknown key may have meant: a name that other programs use, or a slip of the keyboard; silent if unsure."""

from collections.abc import Sequence
from difflib import get_close_matches

SIMILAR, SIMILAR_KEYS = 0.75, 0.9
"""Least similarity of two names in one group, and of two full keys, that differ by a slip, from 0 to 1."""
COMMON = {"name", "path", "model", "mode", "settings", "file", "version", "weights"}
"""Last parts of keys that say nothing without their group."""

SYNONYMS = {
    "optim.lr": "lr learning_rate base_lr max_lr initial_lr",
    "optim.weight_decay": "weight_decay wd l2",
    "loader.batch_size": "batch_size bs train_batch_size per_device_train_batch_size global_batch_size",
    "loader.eval_batch_size": "eval_batch_size val_batch_size test_batch_size per_device_eval_batch_size",
    "trainer.max_epochs": "max_epochs epochs num_epochs n_epochs num_train_epochs epoch",
    "trainer.patience": "patience early_stopping early_stopping_patience",
    "trainer.devices": "devices gpus num_gpus ngpus n_gpu gpu num_devices world_size nproc_per_node",
    "trainer.accelerator": "accelerator device use_gpu no_cuda cuda",
    "trainer.strategy": "strategy ddp fsdp distributed distributed_backend",
    "trainer.precision": "precision amp fp16 bf16 mixed_precision use_amp",
    "trainer.compile": "compile torch_compile use_compile compile_mode cuda_graphs",
    "loader.device": "pin_memory prefetch_factor preload in_memory",
    "trainer.accumulate": "accumulate accumulate_grad_batches gradient_accumulation_steps grad_accum",
    "trainer.checkpoint_every_steps": "checkpoint_every_steps save_steps every_n_train_steps checkpoint_every",
    "trainer.progress_bar": "progress_bar enable_progress_bar verbose quiet",
    "seed": "seed random_seed random_state rng_seed manual_seed global_seed seed_everything",
    "model.fusion.dim": "hidden_dim hidden_size d_model embed_dim embedding_dim hidden width dim",
    "model.fusion.num_heads": "num_heads n_heads nhead heads num_attention_heads",
    "model.fusion.num_blocks": "num_blocks num_layers n_layers layers depth num_hidden_layers",
    "model.fusion.dropout": "dropout dropout_rate drop_rate p_dropout",
    "cohort.tasks": "tasks task outcome outcomes labels target_column",
    "cohort.modalities": "modalities modality inputs features",
    "cohort.split.num_folds": "num_folds folds n_folds n_splits k_folds kfolds k",
    "cohort.split.test": "test_size test_split test_fraction",
    "cohort.split.val": "val_size val_split validation_split val_fraction",
    "cohort.landmark": "landmark prediction_time",
    "evaluation.num_replicates": "num_replicates n_bootstrap num_bootstrap bootstrap bootstraps n_boot replicates",
    "evaluation.num_seeds": "num_seeds seeds n_seeds",
    "evaluation.protocol": "protocol cv cross_validation kfold",
    "experiment": "config config_file config_path config_name exp cfg",
    "dataset": "data_set database dataset_name",
    "paths.runs": "output_dir save_dir log_dir out_dir results_dir default_root_dir logdir run_dir",
    "paths.data": "data_dir data_path cache_dir",
    "paths.mimic_root": "mimic mimic_root mimic_path mimic_dir mimic_iv",
    "paths.eicu_root": "eicu eicu_root eicu_path eicu_dir",
    "paths.cohort": "cohort_path cohort_dir cohort_folder",
    "resume": "resume_from ckpt_path checkpoint_path resume_from_checkpoint ckpt",
    "wandb.enabled": "use_wandb wandb_enabled log_wandb report_to",
    "embed.text.encoder": "text_encoder",
    "embed.image.encoder": "image_encoder",
    "baseline.name": "baseline_name method",
    "simulate.subjects": "subjects num_subjects n_subjects num_patients n_patients",
}
"""Key -> the last parts of keys of other programs that mean it."""

_MEANT = {name: key for key, names in SYNONYMS.items() for name in names.split(" ")}


def meant(key: str, known: Sequence[str]) -> str:
    """The known key that an unknown one stands for.

    A slip is looked for among the keys of its own group first; then the last part, first of all where it is the whole
    key, may be a name that other programs use, or that of one setting elsewhere. Nothing else is guessed.

    Args:
        key: unknown.
        known: all keys.

    Returns:
        A key; empty if none is near enough to be right.

    >>> known = ["seed", "optim.lr", "optim.weight_decay", "trainer.max_epochs"]
    >>> [meant(key, known) for key in ("lr", "optim.lrr", "epochs", "sed", "optim.momentum")]
    ['optim.lr', 'optim.lr', 'trainer.max_epochs', 'seed', '']
    """
    known = list(dict.fromkeys(known))
    group, _, name = key.rpartition(".")
    synonym = _MEANT.get(name.lower().replace("-", "_"), "")
    synonym = synonym if synonym in known else ""
    if synonym and not group:
        return synonym
    siblings = {own.rpartition(".")[2]: own for own in known if own.rpartition(".")[0] == group}
    if name not in COMMON and (slip := get_close_matches(name, siblings, n=1, cutoff=SIMILAR)):
        return siblings[slip[0]]
    if name not in COMMON and (slip := get_close_matches(key, known, n=1, cutoff=SIMILAR_KEYS)):
        return slip[0]
    if synonym:
        return synonym
    elsewhere = [own for own in known if own.rpartition(".")[2] == name]
    return elsewhere[0] if len(elsewhere) == 1 and name not in COMMON else ""
