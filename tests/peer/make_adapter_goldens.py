"""Trains the tiny golden models with LLaMA-Factory 0.9.5 and peft 0.18.1 in ways that need adapters outside the text
decoder, and writes losses and gradient norms to tests/fixtures/golden/adapters.json. Run once, by hand:

    HF_HUB_OFFLINE=1 python3 tests/peer/make_adapter_goldens.py

Every run starts from an adapter of a formula (`value`), which tests/adapters.rs repeats, so no weights are stored.
"""

import json, math, os, pathlib, shutil, tempfile
import torch

GOLDEN = pathlib.Path(__file__).parent.parent / "fixtures" / "golden"
RUNS = {  # name: (model, settings, peft's extra arguments)
    "vision": ("dense", {"freeze_vision_tower": False}, {}),
    "vision_and_projector": ("dense", {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}, {}),
    "projector": ("dense", {"freeze_multi_modal_projector": False, "lora_target": "merger.linear_fc1,merger.linear_fc2"}, {}),
    "vision_only": ("dense", {"freeze_vision_tower": False, "freeze_language_model": True}, {}),
    "vision_moe": ("moe", {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}, {}),
    "dora": ("dense", {"freeze_vision_tower": False, "use_dora": True}, {}),
    "names": ("dense", {"lora_target": "q_proj,mlp.up"}, {}),
    "experts": ("moe", {}, {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}),
}
BASE = {
    "image_max_pixels": 65536, "image_min_pixels": 1024, "stage": "sft", "do_train": True, "finetuning_type": "lora",
    "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.0, "lora_target": "all", "dataset_dir": str(GOLDEN / "data"),
    "media_dir": str(GOLDEN / "data"), "dataset": "mllm_train_data", "template": "qwen3_vl_nothink", "cutoff_len": 2048,
    "preprocessing_num_workers": 1, "overwrite_cache": True, "overwrite_output_dir": True, "logging_steps": 1,
    "save_steps": 100, "save_only_model": True, "report_to": "none", "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2, "learning_rate": 0.005, "max_steps": 3, "lr_scheduler_type": "constant",
    "max_grad_norm": 1.0, "disable_shuffling": True, "use_cpu": True, "seed": 42, "flash_attn": "disabled",
}


def value(name, shape, magnitude):
    """sin of a number that differs for every element, scaled to 0.05; a magnitude keeps within 2 % of its start."""
    phase = sum(ord(c) * (i % 7 + 1) for i, c in enumerate(name)) % 1000 / 1000
    n = math.prod(shape)
    wave = torch.sin(torch.arange(n, dtype=torch.float64) * 0.7 + phase * 6).float().reshape(shape)
    return magnitude * (1 + 0.02 * wave) if magnitude is not None else 0.05 * wave


def run(model, settings, extra):
    from llamafactory.model import adapter as lf_adapter
    from llamafactory.train.tuner import run_exp
    from peft import LoraConfig

    setup, config_class, chosen = lf_adapter._setup_lora_tuning, lf_adapter.LoraConfig, {}
    lf_adapter.LoraConfig = lambda **kwargs: config_class(**kwargs, **extra)

    def filled(*args, **kwargs):
        tuned = setup(*args, **kwargs)
        for name, p in tuned.named_parameters():
            if p.requires_grad:
                name = name.replace(".default", "")
                magnitude = p.data.clone() if "magnitude" in name else None
                p.data.copy_(value(name, p.shape, magnitude))
                chosen[name] = list(p.shape)
        return tuned

    lf_adapter._setup_lora_tuning = filled
    out = tempfile.mkdtemp()
    try:
        run_exp({**BASE, **settings, "model_name_or_path": str(GOLDEN / "models" / f"tiny-{model}"), "output_dir": out})
        state = json.load(open(pathlib.Path(out) / "trainer_state.json"))
        config = json.load(open(pathlib.Path(out) / "adapter_config.json"))
    finally:
        lf_adapter._setup_lora_tuning, lf_adapter.LoraConfig = setup, config_class
        shutil.rmtree(out)
    steps = [{k: row[k] for k in ("loss", "grad_norm")} for row in state["log_history"] if "loss" in row]
    modules = sorted({n.rsplit(".lora_", 1)[0].removeprefix("base_model.model.") for n in chosen})
    return {
        "model": model, "settings": settings, "steps": steps, "modules": modules,
        "trainable": sum(math.prod(s) for s in chosen.values()),
        "target_modules": sorted(config["target_modules"]), "target_parameters": config["target_parameters"],
    }


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    goldens = {name: run(*what) for name, what in RUNS.items()}
    (GOLDEN / "adapters.json").write_text(json.dumps(goldens, indent=1) + "\n")
