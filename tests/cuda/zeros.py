"""A model folder of one of the shapes in configs/models.toml whose weights are zeros, in a sparse file.

Needs no room on the disk and no download, so that the largest models can be tried for shapes and memory.
"""
import json
import math
import pathlib
import shutil
import struct
import tomllib

TOKENS = ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json",
          "chat_template.jinja", "generation_config.json")


def tensors(config):
    """(name, shape) of every tensor, as transformers 5 saves them."""
    text, vision = config["text_config"], config["vision_config"]
    d, v = text["hidden_size"], vision["hidden_size"]
    head, experts = text["head_dim"], text.get("num_experts")
    q, kv = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    yield "model.language_model.embed_tokens.weight", [text["vocab_size"], d]
    yield "model.language_model.norm.weight", [d]
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", [text["vocab_size"], d]
    for i in range(text["num_hidden_layers"]):
        at = f"model.language_model.layers.{i}."
        yield at + "input_layernorm.weight", [d]
        yield at + "post_attention_layernorm.weight", [d]
        for name, shape in (("q_proj", [q, d]), ("k_proj", [kv, d]), ("v_proj", [kv, d]), ("o_proj", [d, q])):
            yield f"{at}self_attn.{name}.weight", shape
        yield at + "self_attn.q_norm.weight", [head]
        yield at + "self_attn.k_norm.weight", [head]
        if experts:
            wide = text["moe_intermediate_size"]
            yield at + "mlp.gate.weight", [experts, d]
            yield at + "mlp.experts.gate_up_proj", [experts, 2 * wide, d]
            yield at + "mlp.experts.down_proj", [experts, d, wide]
        else:
            wide = text["intermediate_size"]
            for name, shape in (("gate_proj", [wide, d]), ("up_proj", [wide, d]), ("down_proj", [d, wide])):
                yield f"{at}mlp.{name}.weight", shape

    def linear(name, out, inp):
        yield name + ".weight", [out, inp]
        yield name + ".bias", [out]

    def norm(name, size):
        yield name + ".weight", [size]
        yield name + ".bias", [size]

    patch, time = vision["patch_size"], vision["temporal_patch_size"]
    yield "model.visual.patch_embed.proj.weight", [v, 3, time, patch, patch]
    yield "model.visual.patch_embed.proj.bias", [v]
    yield "model.visual.pos_embed.weight", [vision["num_position_embeddings"], v]
    for i in range(vision["depth"]):
        at = f"model.visual.blocks.{i}."
        yield from norm(at + "norm1", v)
        yield from norm(at + "norm2", v)
        yield from linear(at + "attn.qkv", 3 * v, v)
        yield from linear(at + "attn.proj", v, v)
        yield from linear(at + "mlp.linear_fc1", vision["intermediate_size"], v)
        yield from linear(at + "mlp.linear_fc2", v, vision["intermediate_size"])
    merged = v * vision["spatial_merge_size"] ** 2
    mergers = [("merger", v)] + [(f"deepstack_merger_list.{i}", merged) for i in range(len(vision["deepstack_visual_indexes"]))]
    for name, size in mergers:
        yield from norm(f"model.visual.{name}.norm", size)
        yield from linear(f"model.visual.{name}.linear_fc1", merged, merged)
        yield from linear(f"model.visual.{name}.linear_fc2", vision["out_hidden_size"], merged)


def make(folder, name, tokens, models, layers=None):
    """Writes `folder` in the shape of the model `name`; tokenizer and token ids come from the folder `tokens`."""
    row = next(m for m in tomllib.loads(models.read_text())["model"] if m["name"] == name)
    config = json.loads((tokens / "config.json").read_text())
    config |= {"model_type": row["model_type"], "tie_word_embeddings": row["tie_word_embeddings"]}
    config["architectures"] = ["Qwen3VLMoeForConditionalGeneration" if "moe" in row["model_type"] else "Qwen3VLForConditionalGeneration"]
    kept = {k: v for k, v in config["text_config"].items() if k.endswith("_token_id") or k in ("dtype", "hidden_act")}
    config["text_config"] = row["text_config"] | kept | {"model_type": row["model_type"] + "_text"}
    config["vision_config"] = row["vision_config"] | {"model_type": row["model_type"], "in_channels": 3}
    if layers:
        config["text_config"]["num_hidden_layers"] = min(layers, config["text_config"]["num_hidden_layers"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for file in TOKENS:
        if (tokens / file).exists():
            shutil.copy(tokens / file, folder / file)
    header, at = {}, 0
    for tensor, shape in tensors(config):
        end = at + 2 * math.prod(shape)
        header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(folder / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head)
        out.truncate(8 + len(head) + at)
    return pathlib.Path(folder), at
