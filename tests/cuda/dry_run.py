#!/usr/bin/env python3
"""The CUDA path without a GPU: the driver is a stand-in (stand_in.c), the kernel compiler is the real NVRTC.

  dry_run.py PROGRAM [--only NAME] [--arch 80] [--set key=value]

For each model and architecture: the warm-up of a run, training steps, an evaluation, then generation, in bf16. It fails
when something is missing on that path: an operation, a type, a kernel that does not compile. It says nothing about
numbers or speed. The peak of device memory is set against the program's plan for such a GPU. NVRTC and its headers
come from PyPI by name; that is the only download.
"""
import argparse
import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

import zeros

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GOLDEN = ROOT / "tests/fixtures/golden"
WHEELS = ("nvidia-cuda-nvrtc-cu12==12.8.93", "nvidia-cuda-runtime-cu12==12.8.90", "nvidia-cuda-cccl-cu12==12.8.90",
          "nvidia-cuda-nvcc-cu12==12.8.93")
# name, row of configs/models.toml (None: a model of the fixtures), text layers (None: all)
CASES = (("tiny-dense", None, None), ("tiny-moe", None, None),
         ("4B-shaped", "Qwen3-VL-4B", None), ("30B-A3B-shaped", "Qwen3-VL-30B-A3B", 4))

SETTINGS = """
model_name_or_path: {weights}
dataset: mllm_train_data
eval_dataset: mllm_train_data
dataset_dir: {data}
media_dir: {data}
template: qwen3_vl_nothink
output_dir: {out}
bf16: true
image_max_pixels: 65536
cutoff_len: 1024
max_samples: 8
max_steps: 4
eval_steps: 4
save_steps: 4
logging_steps: 1
lora_rank: 8
lora_dropout: 0.05
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
max_new_tokens: 4
skip_bad_batch: true
"""


def toolkit(cache):
    """(CUDA_PATH, library folder): headers and NVRTC unpacked, the stand-in compiled."""
    cuda, lib = cache / "cuda", cache / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    if not (cuda / "include/crt/mma.h").exists():
        wheels = cache / "wheels"
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, *WHEELS], check=True)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(cache / "unpacked")
        for include in glob.glob(f"{cache}/unpacked/nvidia/*/include"):
            shutil.copytree(include, cuda / "include", dirs_exist_ok=True)
        for so in glob.glob(f"{cache}/unpacked/nvidia/cuda_nvrtc/lib/libnvrtc*.so*"):
            shutil.copy(so, lib)
        shutil.copy(lib / "libnvrtc.so.12", lib / "libnvrtc.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", lib / "libcuda.so.1", HERE / "stand_in.c", "-lpthread"], check=True)
    shutil.copy(lib / "libcuda.so.1", lib / "libcuda.so")
    return cuda, lib


def model(work, name, row, layers):
    if row is None:
        return GOLDEN / "models" / name
    folder, size = zeros.make(work / name, row, GOLDEN / "models/tiny-dense", ROOT / "configs/models.toml", layers)
    print(f"  {row}, {layers or 'all'} layers: {size / 2**30:.1f} GiB of zeros", flush=True)
    return folder


def run(args, env, report):
    report.unlink(missing_ok=True)
    began = time.time()
    done = subprocess.run([str(a) for a in args], env=env, cwd=GOLDEN, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, args))}\nended with {done.returncode}:\n{done.stdout[:3000]}\n...\n{done.stdout[-3000:]}")
    if not report.exists():
        sys.exit(f"no kernel was launched: the GPU was not used\n{done.stdout[-3000:]}")
    told = json.loads(report.read_text().splitlines()[-1])
    print(f"  {args[1]}: {time.time() - began:.0f} s, {told['modules']} kernels compiled, {told['launches']} launches, "
          f"peak {told['peak_bytes'] / 2**20:.0f} MiB", flush=True)
    return told


def planned(args, env):
    """Bytes on the device by the plan, without the driver's own, which the stand-in does not count."""
    done = subprocess.run([str(a) for a in args], env=env, cwd=GOLDEN, text=True, capture_output=True)
    if not done.stdout:
        sys.exit(f"{' '.join(map(str, args))}\n{done.stderr}")
    memory = json.loads(done.stdout)["plan"]["memory"]
    return memory["peak"] - sum(part["bytes"] for part in memory["resident"] if part["name"] == "process")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("program")
    ask.add_argument("--only", action="append", help="a case: " + ", ".join(c[0] for c in CASES))
    ask.add_argument("--arch", action="append", help="80, 90 (default: both)")
    ask.add_argument("--set", action="append", default=[], metavar="key=value", help="another setting of the training run")
    ask.add_argument("--memory", type=int, default=80, help="GiB of the device")
    ask.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "lorascope-cuda-dry-run")
    a = ask.parse_args()
    program = pathlib.Path(a.program).resolve()
    cuda, lib = toolkit(a.cache)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name, row, layers in CASES:
            if a.only and name not in a.only:
                continue
            print(name, flush=True)
            weights = model(work, name, row, layers)
            for arch in a.arch or ["80", "90"]:
                report = work / "report.json"
                env = os.environ | {"LORASCOPE_DEVICE": "cuda", "CUDA_PATH": str(cuda), "LD_LIBRARY_PATH": str(lib), "STAND_IN_CC": arch,
                                    "STAND_IN_REPORT": str(report), "STAND_IN_COPY": str(64 << 20), "STAND_IN_GB": str(a.memory), "XDG_CACHE_HOME": str(work / "cache")}
                out = work / f"{name}-{arch}"
                settings = work / f"{name}-{arch}.yaml"
                settings.write_text(SETTINGS.format(weights=weights, data=GOLDEN / "data", out=out))
                print(f" sm_{arch}", flush=True)
                trained = run([program, "train", settings, *a.set], env, report)
                plan = planned([program, "plan", settings, *a.set, "--memory", a.memory, "--json"], env)
                print(f"  plan: {plan / 2**20:.0f} MiB; the peak is {trained['peak_bytes'] / plan:.2f} of it", flush=True)
                asked = run([program, "eval", settings, f"adapter_name_or_path={out}", f"output_dir={out}-eval"], env, report)
                results.append({"model": name, "arch": arch, "train": trained, "planned": plan, "eval": asked})
    print(json.dumps(results))


main()
