#!/usr/bin/env python3
"""Times `lorascope convert` on a parquet file, in turns with another program on the same machine.

    cargo build --release --locked
    python3 tests/bench/convert.py FILE.parquet --peer 'python3 peer.py {file} {out}'

The peer's command gets a fresh {out} each time. Prints rows/s (the best of all runs) and the peak memory of each, and the
ratios. A program that ends with a JSON line with "seconds" is taken by its own time, so that loading an interpreter's
libraries does not count; else by wall clock. Standard library only.
"""
import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time


def measure(command):
    """Seconds, peak MiB and standard output of a command."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"{shlex.join(command)}: status {status}")
    try:
        seconds = json.loads(out.splitlines()[-1])["seconds"]
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    return seconds, usage.ru_maxrss / 1024, out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--lorascope", default="target/release/lorascope")
    parser.add_argument("--peer", help="a command with {file} and {out}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dir", help="where to write (default: the folder for temporary files)")
    args = parser.parse_args()
    commands = {"lorascope": [args.lorascope, "convert", "{file}", "--out", "{out}", "--json"]}
    if args.peer:
        commands["peer"] = shlex.split(args.peer)
    best, rows, written = {}, None, []
    for run in range(args.runs):
        for name, command in commands.items():
            out = tempfile.mkdtemp(prefix="bench-convert-", dir=args.dir)
            seconds, mib, text = measure([part.format(file=args.file, out=out) for part in command])
            if name == "lorascope":
                rows = json.loads(text.splitlines()[-1])["rows"]
            # Removed at the end: ext4 makes new files slowly for a while after many were removed.
            written.append(out)
            print(f"run {run + 1}  {name:10} {seconds:8.2f} s  {mib:7.0f} MiB", flush=True)
            fastest, most = best.get(name, (seconds, mib))
            best[name] = (min(fastest, seconds), max(most, mib))
    for out in written:
        shutil.rmtree(out)
    for name, (seconds, mib) in best.items():
        print(f"{name:10} {rows / seconds:10.0f} rows/s  {mib:7.0f} MiB")
    if "peer" in best:
        ours, peer = best["lorascope"], best["peer"]
        print(f"{peer[0] / ours[0]:.1f} times the peer's speed, {ours[1] / peer[1]:.2f} of its memory")


if __name__ == "__main__":
    main()
