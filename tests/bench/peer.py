#!/usr/bin/env python3
"""Lorascope against LLaMA-Factory on the same models, data and settings, in the same run.

  peer.py make DIR --tokenizer MODEL          random dense and mixture-of-experts models, pictures, captions, settings
  peer.py compare DIR --lorascope PROGRAM [--what train|predict] [--model dense|moe] [--rounds N]

`make` needs numpy and Pillow, and of MODEL the tokenizer and processor files. `compare` lets both programs run in turn
and prints samples a second (as both count them: without loading), peak memory of the process, and the ratios of the
medians. Do it on a machine that does nothing else. Without `llamafactory-cli` on the PATH it measures Lorascope alone.
"""
import argparse, json, os, pathlib, random, resource, shutil, statistics, struct, subprocess, sys

TEXT = dict(vocab_size=151936, hidden_size=512, num_attention_heads=8, num_key_value_heads=4, head_dim=64,
            num_hidden_layers=8, intermediate_size=1536, max_position_embeddings=8192, rms_norm_eps=1e-6,
            hidden_act="silu", attention_bias=False, eos_token_id=151645,
            rope_parameters=dict(rope_type="default", rope_theta=5e6, mrope_section=[12, 10, 10], mrope_interleaved=True))
EXPERTS = dict(num_hidden_layers=6, moe_intermediate_size=256, num_experts=32, num_experts_per_tok=4,
               norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
VISION = dict(depth=8, hidden_size=256, num_heads=4, intermediate_size=1024, out_hidden_size=512, patch_size=16,
              spatial_merge_size=2, temporal_patch_size=2, in_channels=3, num_position_embeddings=2304,
              hidden_act="gelu_pytorch_tanh", deepstack_visual_indexes=[2, 4, 6])
TOKENS = dict(image_token_id=151655, video_token_id=151656, vision_start_token_id=151652, vision_end_token_id=151653)
FINDINGS = ["hypodense lesion", "pleural effusion", "linear opacity", "calcified nodule", "cortical thinning",
            "enlarged lymph node", "ground glass opacity", "joint space narrowing", "fluid collection"]
PLACES = ["in the right hepatic lobe", "at the left lung base", "near the hilum", "in the distal femur",
          "along the pancreatic tail", "beside the aortic arch", "within the left kidney"]


def shapes(text, moe):
    """Names and shapes of all tensors, as transformers 5 saves them."""
    h, d, v = text["hidden_size"], text["head_dim"], VISION["hidden_size"]
    q, kv = text["num_attention_heads"] * d, text["num_key_value_heads"] * d
    yield "model.language_model.embed_tokens.weight", (text["vocab_size"], h)
    yield "model.language_model.norm.weight", (h,)
    if moe:
        yield "lm_head.weight", (text["vocab_size"], h)
    for i in range(text["num_hidden_layers"]):
        at = f"model.language_model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}{norm}.weight", (h,)
        for name, shape in dict(q_proj=(q, h), k_proj=(kv, h), v_proj=(kv, h), o_proj=(h, q), q_norm=(d,), k_norm=(d,)).items():
            yield f"{at}self_attn.{name}.weight", shape
        if moe:
            e, m = text["num_experts"], text["moe_intermediate_size"]
            yield f"{at}mlp.gate.weight", (e, h)
            yield f"{at}mlp.experts.gate_up_proj", (e, 2 * m, h)
            yield f"{at}mlp.experts.down_proj", (e, h, m)
        else:
            wide = text["intermediate_size"]
            for name, shape in dict(gate_proj=(wide, h), up_proj=(wide, h), down_proj=(h, wide)).items():
                yield f"{at}mlp.{name}.weight", shape
    linear = lambda name, out, inp: [(f"model.visual.{name}.weight", (out, inp)), (f"model.visual.{name}.bias", (out,))]
    norm = lambda name, n: [(f"model.visual.{name}.weight", (n,)), (f"model.visual.{name}.bias", (n,))]
    merged, out = 4 * v, VISION["out_hidden_size"]
    yield "model.visual.patch_embed.proj.weight", (v, 3, 2, 16, 16)
    yield "model.visual.patch_embed.proj.bias", (v,)
    yield "model.visual.pos_embed.weight", (VISION["num_position_embeddings"], v)
    for i in range(VISION["depth"]):
        at, wide = f"blocks.{i}.", VISION["intermediate_size"]
        yield from norm(at + "norm1", v) + norm(at + "norm2", v)
        yield from linear(at + "attn.qkv", 3 * v, v) + linear(at + "attn.proj", v, v)
        yield from linear(at + "mlp.linear_fc1", wide, v) + linear(at + "mlp.linear_fc2", v, wide)
    mergers = ["merger"] + [f"deepstack_merger_list.{i}" for i in range(len(VISION["deepstack_visual_indexes"]))]
    for name in mergers:
        yield from norm(name + ".norm", v if name == "merger" else merged)
        yield from linear(name + ".linear_fc1", merged, merged) + linear(name + ".linear_fc2", out, merged)


def write_model(folder, moe, tokenizer):
    import numpy as np
    folder.mkdir(parents=True, exist_ok=True)
    text = dict(TEXT, **EXPERTS) if moe else dict(TEXT)
    kind = "qwen3_vl_moe" if moe else "qwen3_vl"
    config = dict(architectures=["Qwen3VLMoeForConditionalGeneration" if moe else "Qwen3VLForConditionalGeneration"],
                  model_type=kind, dtype="float32", tie_word_embeddings=not moe, transformers_version="5.6.0",
                  text_config=dict(text, model_type=kind + "_text", tie_word_embeddings=not moe, dtype="float32"),
                  vision_config=dict(VISION, model_type=kind), **TOKENS)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    for file in tokenizer.iterdir():
        if file.suffix in (".json", ".jinja", ".txt") and file.name not in ("config.json", "model.safetensors.index.json"):
            shutil.copy(file, folder)
    header, end, rng = {}, 0, np.random.default_rng(7)
    for name, shape in shapes(text, moe):
        size = 4 * int(np.prod(shape))
        header[name] = dict(dtype="F32", shape=shape, data_offsets=[end, end + size])
        end += size
    head = json.dumps(dict(header, __metadata__=dict(format="pt"))).encode()
    head += b" " * (-len(head) % 8)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for name, entry in header.items():
            shape = entry["shape"]
            ones = len(shape) == 1 and name.endswith("weight")
            values = np.ones(shape, "f4") if ones else rng.standard_normal(shape, "f4") * np.float32(0.02)
            f.write(values.tobytes() if not name.endswith("bias") else bytes(4 * shape[0]))


def write_data(folder, rows):
    import numpy as np
    from PIL import Image
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rng, words = np.random.default_rng(3), random.Random(3)
    all_rows = []
    for i in range(rows):
        w, h = [(512, 512), (480, 360), (384, 512)][i % 3]
        y, x = np.mgrid[0:h, 0:w]
        disc = 90 * np.exp(-((x - w * rng.random()) ** 2 + (y - h * rng.random()) ** 2) / (2 * (20 + 60 * rng.random()) ** 2))
        noise = rng.normal(90, 30, (h, w))
        Image.fromarray(np.clip(noise + disc, 0, 255).astype("u1")).save(folder / f"pictures/{i}.jpg", quality=88)
        phrases = [f"{words.choice(FINDINGS)} {words.choice(PLACES)}" for _ in range(words.randrange(18, 34))]
        talk = [{"from": "user", "value": "<image>What does this picture show?"}, {"from": "assistant", "value": "; ".join(phrases) + "."}]
        all_rows.append({"conversations": talk, "images": [f"pictures/{i}.jpg"]})
    columns = {"messages": "conversations", "images": "images"}
    tags = {"role_tag": "from", "content_tag": "value", "user_tag": "user", "assistant_tag": "assistant"}
    parts = {"train": all_rows, "val": all_rows[:8]}
    for name, part in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(part, ensure_ascii=False))
    info = {n: dict(file_name=f"{n}.json", columns=columns, formatting="sharegpt", tags=tags) for n in parts}
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=1))


def settings(folder, kind, what):
    """LLaMA-Factory's keys; both programs read the same file."""
    c = dict(model_name_or_path=f"{folder}/{kind}", image_max_pixels=262144, stage="sft", finetuning_type="lora",
             template="qwen3_vl_nothink", cutoff_len=2048, dataset_dir=f"{folder}/data", media_dir=f"{folder}/data",
             preprocessing_num_workers=2, overwrite_cache=True, overwrite_output_dir=True, report_to="none", use_cpu=True, seed=42)
    if what == "train":
        return c | dict(do_train=True, lora_rank=8, lora_alpha=16, lora_target="all", dataset="train", logging_steps=1,
                        save_steps=1000, save_only_model=True, per_device_train_batch_size=4, gradient_accumulation_steps=2,
                        learning_rate=1e-4, num_train_epochs=1, lr_scheduler_type="cosine", disable_shuffling=True)
    return c | dict(do_predict=True, predict_with_generate=True, eval_dataset="val", per_device_eval_batch_size=8,
                    max_new_tokens=48, do_sample=False, temperature=1.0, top_p=1.0, top_k=0)


def measure(command, log, out):
    """Runs a program; (samples a second, peak memory in MiB)."""
    shutil.rmtree(out, ignore_errors=True)
    hidden = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    env = {k: v for k, v in os.environ.items() if k not in hidden} | dict(HF_HUB_OFFLINE="1", DISABLE_VERSION_CHECK="1")
    with open(log, "w") as text:
        child = subprocess.Popen(command, stdout=text, stderr=subprocess.STDOUT, env=env)
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed:\n" + pathlib.Path(log).read_text()[-3000:])
    results = json.loads((out / "all_results.json").read_text())
    speed = next(v for k, v in results.items() if k.endswith("_samples_per_second") and not k.startswith("eval"))
    return speed, usage.ru_maxrss / 1024


def compare(folder, program, what, kind, rounds):
    peer = shutil.which("llamafactory-cli")
    seen = {"lorascope": [], "llama-factory": []}
    for round_ in range(rounds):
        for name in seen if peer else ["lorascope"]:
            out = folder / f"out-{name}-{kind}-{what}"
            config = folder / f"{name}-{kind}-{what}.json"  # JSON is YAML
            config.write_text(json.dumps(settings(folder, kind, what) | dict(output_dir=str(out)), indent=1))
            yaml = config.rename(config.with_suffix(".yaml"))
            ours = [program, "train" if what == "train" else "eval", yaml, "--quiet"]
            command = ours if name == "lorascope" else [peer, "train", yaml]
            seen[name].append(measure(command, config.with_suffix(".log"), out))
            speed, peak = seen[name][-1]
            print(f"{kind} {what} round {round_ + 1}: {name:14} {speed:7.3f} samples/s  {peak:7.0f} MiB", flush=True)
    middle = {n: [statistics.median(x) for x in zip(*runs)] for n, runs in seen.items() if runs}
    if peer:
        (a, am), (b, bm) = middle["lorascope"], middle["llama-factory"]
        print(f"{kind} {what}: {a / b:.2f} times the samples/s, {am / bm:.2f} of the memory")
    return middle


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "compare"])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--lorascope", default="target/release/lorascope")
    parser.add_argument("--what", choices=["train", "predict"], action="append")
    parser.add_argument("--model", choices=["dense", "moe"], action="append")
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    folder = a.dir.resolve()
    if a.command == "make":
        if not a.tokenizer:
            parser.error("make needs --tokenizer MODEL")
        for kind in ("dense", "moe"):
            write_model(folder / kind, kind == "moe", a.tokenizer)
        write_data(folder / "data", a.rows)
        return
    for kind in a.model or ("dense", "moe"):
        for what in a.what or ("train", "predict"):
            compare(folder, a.lorascope, what, kind, a.rounds)


if __name__ == "__main__":
    main()
