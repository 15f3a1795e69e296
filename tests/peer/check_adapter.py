"""What the real transformers and peft make of folders that Lorascope wrote. Prints one JSON line.

    python3 check_adapter.py versions
    python3 check_adapter.py logits JOB.json
    python3 check_adapter.py weights JOB.json

JOB.json: a list of {"model", "adapter" (or null), "ids", "grid", "pixels" (file of float32), "logits" (file of
float32)}. For each the answer is the largest difference between our logits and theirs, relative to the typical logit,
the classes of adapted layers, and what peft warned of.

`weights` takes a list of {"model", "adapter", "export"}: peft merges the adapter into the model in the type of its
weights; the answer is how many of all values differ from those in `export`, and by how much, relative to the value.
"""

import json, os, sys, warnings

os.environ["HF_HUB_OFFLINE"] = "1"


def versions():
    import peft, torch, transformers

    return {"peft": peft.__version__, "torch": torch.__version__, "transformers": transformers.__version__}


def compare(job):
    import numpy, torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(job["model"], dtype=torch.float32)
    layers = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if job["adapter"]:
            model = PeftModel.from_pretrained(model, job["adapter"])
            layers = sorted({type(m).__name__ for n, m in model.named_modules() if hasattr(m, "lora_A")})
    ids = torch.tensor([job["ids"]])
    image = model.config.image_token_id
    pixels = numpy.fromfile(job["pixels"], dtype=numpy.float32).reshape(-1, 1536)
    with torch.no_grad():
        got = model.eval()(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.from_numpy(pixels),
            image_grid_thw=torch.tensor([job["grid"]]), mm_token_type_ids=(ids == image).int(),
        ).logits[0].numpy()
    ours = numpy.fromfile(job["logits"], dtype=numpy.float32).reshape(got.shape)
    typical = float(numpy.sqrt((got**2).mean()))
    told = [str(w.message) for w in caught if "issing adapter keys" in str(w.message)]
    return {"off": float(numpy.abs(ours - got).max()) / typical, "layers": layers, "warnings": told}


def weigh(job):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(job["model"], dtype="auto")
    want = PeftModel.from_pretrained(model, job["adapter"]).merge_and_unload().state_dict()
    got = AutoModelForImageTextToText.from_pretrained(job["export"], dtype="auto").state_dict()
    assert got.keys() == want.keys()
    values = different = 0
    worst = 0.0
    for name, w in want.items():
        g = got[name]
        assert g.dtype == w.dtype, (name, g.dtype, w.dtype)
        off = (g.float() - w.float()).abs()
        values += off.numel()
        different += int((off > 0).sum())
        worst = max(worst, float((off / (w.float().abs() + 1e-3)).max()))
    return {"values": values, "different": different, "worst": worst, "dtype": str(w.dtype)}


if __name__ == "__main__":
    if sys.argv[1] == "versions":
        print(json.dumps(versions()))
    else:
        work = {"logits": compare, "weights": weigh}[sys.argv[1]]
        print(json.dumps([work(job) for job in json.load(open(sys.argv[2]))]))
