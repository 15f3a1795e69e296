#!/usr/bin/env python3
"""The CUDA path without a GPU: the driver is a stand-in (stand_in.c), the kernel compiler is the real NVRTC.

  dry_run.py PROGRAM [--quick] [--only NAME] [--arch 80] [--set key=value]

For each model and architecture: the warm-up of a run, training steps, an evaluation, then generation, in bf16. It fails
when something is missing on that path: an operation, a type, a kernel that does not compile; and where the peak of
device memory is not within 15 % of the program's plan for such a GPU. It says nothing about numbers or speed. Then memory
runs out: a run whose activations do not fit goes on by computing layers again, and one that does not fit at all says so.
NVRTC and its headers come from PyPI by name; that is the only download, and where it fails the exit code is 77. `--quick`: fewer layers.
"""
import argparse
import dataclasses
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
# name, row of configs/models.toml (None: a model of the fixtures), text layers (None: all), and of a quick run
CASES = (("tiny-dense", None, None, None), ("tiny-moe", None, None, None),
         ("4B-shaped", "Qwen3-VL-4B", None, 8), ("30B-A3B-shaped", "Qwen3-VL-30B-A3B", 4, 3))
MEMORY = "out-of-memory"
# Exit code where there is no kernel compiler to try it with
SKIPPED = 77
# How far the peak may be from the plan
TOLERANCE = 0.15

SETTINGS = """
model_name_or_path: {weights}
dataset: mllm_train_data
eval_dataset: mllm_train_data
dataset_dir: {data}
media_dir: {data}
template: qwen3_vl_nothink
output_dir: {out}
overwrite_output_dir: true
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


def download(wheels):
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, *WHEELS]
    done = subprocess.run(pip, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(f"NVIDIA's packages cannot be had from PyPI, and without them no kernel can be compiled: {' '.join(WHEELS)}\n"
              f"{done.stdout}")
        sys.exit(SKIPPED)


def toolkit(cache):
    """(CUDA_PATH, library folder): headers and NVRTC unpacked, the stand-in compiled."""
    cuda, lib = cache / "cuda", cache / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    if not (cuda / "include/crt/mma.h").exists():
        wheels = cache / "wheels"
        download(wheels)
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


@dataclasses.dataclass
class Machine:
    """The program, and a machine with a GPU that is not there."""
    program: pathlib.Path
    cuda: pathlib.Path
    lib: pathlib.Path
    work: pathlib.Path
    gib: int

    def settings(self, name, row, layers):
        """A configuration file and its output folder."""
        weights = GOLDEN / "models" / name
        if row is not None:
            tokens = GOLDEN / "models/tiny-dense"
            weights, size = zeros.make(self.work / name, row, tokens, ROOT / "configs/models.toml", layers)
            print(f"  {row}, {layers or 'all'} layers: {size / 2**30:.1f} GiB of zeros", flush=True)
        path, out = self.work / f"{name}.yaml", self.work / f"{name}-out"
        path.write_text(SETTINGS.format(weights=weights, data=GOLDEN / "data", out=out))
        return path, out

    def call(self, args, arch, free=None):
        """Ends with (exit code, what was printed, what the device saw)."""
        report = self.work / "report.json"
        report.unlink(missing_ok=True)
        env = os.environ | {"LORASCOPE_DEVICE": "cuda", "CUDA_PATH": str(self.cuda), "LD_LIBRARY_PATH": str(self.lib),
                            "STAND_IN_CC": arch, "STAND_IN_REPORT": str(report), "STAND_IN_COPY": str(64 << 20),
                            "STAND_IN_GB": str(self.gib), "XDG_CACHE_HOME": str(self.work / "cache")}
        if free is not None:
            env["STAND_IN_FREE_MB"] = str(free >> 20)
        began = time.time()
        done = subprocess.run([str(a) for a in (self.program, *args)], env=env, cwd=GOLDEN, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not report.exists():
            sys.exit(f"{args}: no kernel was launched: the GPU was not used\n{done.stdout[-3000:]}")
        told = json.loads(report.read_text().splitlines()[-1])
        print(f"  {args[0]}: {time.time() - began:.0f} s, {told['modules']} kernels compiled, {told['launches']} launches, "
              f"peak {told['peak_bytes'] / 2**20:.0f} MiB", flush=True)
        return done.returncode, done.stdout, told

    def run(self, args, arch, free=None):
        """What was printed and what the device saw, of a command that succeeds."""
        code, said, told = self.call(args, arch, free)
        if code != 0:
            sys.exit(f"{' '.join(map(str, args))}\nended with {code}:\n{said[:3000]}\n...\n{said[-3000:]}")
        return said, told

    def planned(self, args):
        """Bytes on the device by the plan, without the driver's own, which the stand-in does not count."""
        done = subprocess.run([str(a) for a in (self.program, "plan", *args, "--memory", self.gib, "--json")],
                              cwd=GOLDEN, text=True, capture_output=True)
        if '"plan"' not in done.stdout:
            sys.exit(f"plan {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
        memory = json.loads(done.stdout)["plan"]["memory"]
        parts = memory["resident"] + memory["phases"] + [memory["overhead"]]
        print("   " + ", ".join(f"{p['name']} {p['bytes'] / 2**20:.0f}" for p in parts))
        return memory["peak"] - sum(part["bytes"] for part in memory["resident"] if part["name"] == "process")


def whole_way(machine, arch, settings, out, more):
    """Training, evaluation, generation; the peak of training as a share of the plan."""
    print(f" sm_{arch}", flush=True)
    _, trained = machine.run(["train", settings, *more], arch)
    plan = machine.planned([settings, *more])
    share = trained["peak_bytes"] / plan
    print(f"  plan: {plan / 2**20:.0f} MiB; the peak is {share:.2f} of it", flush=True)
    machine.run(["eval", settings, f"adapter_name_or_path={out}", f"output_dir={out}-eval"], arch)
    return share


def memory_runs_out(machine, arch):
    """A run that fits only where layers are computed again, and one that does not fit, on a device that says there is room."""
    settings, _ = machine.settings("short", "Qwen3-VL-4B", 8)
    large = ["per_device_train_batch_size=8", "gradient_accumulation_steps=1", "max_steps=8", "eval_steps=0"]

    def peak(keep_all):
        return machine.run(["train", settings, *large, f"disable_gradient_checkpointing={keep_all}"], arch)[1]["peak_bytes"]

    kept, again = peak("true"), peak("false")
    said, _ = machine.run(["train", settings, *large], arch, (kept + again) // 2)
    if "layers are computed again from here on" not in said:
        sys.exit(f"all activations fit into less than they take?\n{said[-3000:]}")
    # After the first attempt the pools are cut otherwise, so a little less than that peak may do.
    code, said, _ = machine.call(["train", settings, *large], arch, again - (200 << 20))
    if code != 6 or "out of memory while" not in said or "lower per_device_train_batch_size" not in said:
        sys.exit(f"a run that does not fit ended with {code}:\n{said[-3000:]}")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("program")
    ask.add_argument("--quick", action="store_true", help="fewer layers")
    ask.add_argument("--only", action="append", help="a case: " + ", ".join([*(c[0] for c in CASES), MEMORY]))
    ask.add_argument("--arch", action="append", help="80, 90 (default: both)")
    ask.add_argument("--set", action="append", default=[], metavar="key=value", help="another setting of the training run")
    ask.add_argument("--memory", type=int, default=80, help="GiB of the device")
    ask.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "lorascope-cuda-dry-run")
    a = ask.parse_args()
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(pathlib.Path(a.program).resolve(), *toolkit(a.cache), pathlib.Path(folder), a.memory)
        for name, row, layers, few in CASES:
            if a.only and name not in a.only:
                continue
            print(name, flush=True)
            settings, out = machine.settings(name, row, few if a.quick else layers)
            for arch in a.arch or ["80", "90"]:
                shares[f"{name} sm_{arch}"] = whole_way(machine, arch, settings, out, a.set)
        if not a.only or MEMORY in a.only:
            print(MEMORY, flush=True)
            # The smaller the device, the smaller the pages that memory is taken in.
            memory_runs_out(dataclasses.replace(machine, gib=16), "90")
    off = {case: share for case, share in shares.items() if abs(share - 1) > TOLERANCE}
    if off:
        sys.exit("peak of device memory over plan: " + ", ".join(f"{case} {share:.2f}" for case, share in off.items()))
    print("all within the plan: " + ", ".join(f"{case} {share:.2f}" for case, share in shares.items()))


main()
