#!/usr/bin/env python3
"""What the workbench promises about its speed, measured on the real program in a pseudo-terminal.

  screen.py PROGRAM [--only frames,start,idle,bytes,cost] [--rounds N] [--seconds S] [--size 200x60]

  frames  update + draw with a run of 1,000,000 points and 16,163 samples open (`PROGRAM bench screen`)
  start   from the start of the process to the first whole frame, the median of 20
  idle    bytes to the terminal and share of a core, of all threads, while nothing happens for 20 s
  bytes   bytes a second while the demo's training is watched for 60 s, in the default and in the low-bandwidth mode
  cost    samples/s of the same training alone, with a workbench on it, and with `watch` on it, in turn, N rounds of S seconds each

Prints each figure with its bar and whether it is met; the exit code is 1 if one is missed. Python's standard library is
all it needs. Do it on a machine that does nothing else, with a release build. What it starts it ends, and its folder
goes.
"""
import argparse, atexit, fcntl, json, os, pathlib, pty, re, select, shutil, signal, statistics, struct, subprocess, sys
import tempfile, termios, time

FRAME_ENDS = b"\x1b[?2026l"
BARS = {"frames": 5.0, "start": 150.0, "idle bytes": 0.0, "idle core": 0.5, "bytes": 4000.0, "bytes slow": 1000.0, "cost": 2.0}
PATIENCE = 180


class Terminal:
    """A program in a pseudo-terminal of its own."""

    all = []

    def __init__(self, program, args, size, env):
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
                os.execve(program, [program, *args], env)
            finally:
                os._exit(127)
        self.bytes, self.tail, self.open = 0, b"", True
        Terminal.all.append(self)

    def take(self, seconds):
        """Takes output in as soon as there is some, at most so long."""
        return take([self], seconds)

    def until(self, what, there):
        end = time.monotonic() + PATIENCE
        while not there():
            if time.monotonic() > end or not self.open:
                raise SystemExit(f"{what} does not come; the last output is {self.tail[-300:]!r}")
            self.take(0.1)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def close(self):
        """Ends the program; a run that it started goes on."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(self.pid, sent)
            except ProcessLookupError:
                break
            end = time.monotonic() + 10
            while time.monotonic() < end:
                self.take(0.05)
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return self.gone()
        self.gone()

    def gone(self):
        os.close(self.fd)
        self.open = False
        Terminal.all.remove(self)


def take(terminals, seconds):
    ready, _, _ = select.select([t.fd for t in terminals if t.open], [], [], min(seconds, 1))
    for terminal in terminals:
        if terminal.fd in ready:
            try:
                got = os.read(terminal.fd, 65536)
            except OSError:  # the other end is gone
                got = b""
            terminal.open = bool(got)
            terminal.bytes += len(got)
            terminal.tail = (terminal.tail + got)[-4096:]
    return bool(ready)


def take_for(terminals, seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        take(terminals, left)


def core_seconds(pid):
    """Seconds that all threads of a process have been on a core, those of ended ones left out."""
    spent = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            spent += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass  # it has just ended
    return spent / 1e9


class Bench:
    def __init__(self, program, size, rounds, seconds):
        self.program, self.size, self.rounds, self.seconds = program, size, rounds, seconds
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lorascope-screen-"))
        self.env = dict(os.environ, TERM="xterm-256color", COLORTERM="truecolor", LANG="en_US.UTF-8", LORASCOPE_DEVICE="cpu",
                        XDG_STATE_HOME=str(self.dir / "state"), XDG_CONFIG_HOME=str(self.dir / "config"))
        for name in ("LC_ALL", "LC_MESSAGES", "NO_COLOR", "LORASCOPE_THEME", "LORASCOPE_ASCII", "LORASCOPE_PICTURES"):
            self.env.pop(name, None)
        self.workspace = self.dir / "workspace"
        self.children, self.missed, self.prepared = [], [], False

    def report(self, what, figure, unit, bar, most):
        """A line; `bar` is met below it, at 0 when the figure is 0."""
        met = figure < most or figure == most == 0
        if not met:
            self.missed.append(what)
        print(f"{what:<46} {figure:>10.2f} {unit:<10} bar: {bar:<16} {'met' if met else 'MISSED'}", flush=True)

    def run(self, *args):
        done = subprocess.run([self.program, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(args)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def prepare(self):
        """The demo's model and data, and settings for a run that lasts."""
        if self.prepared:
            return
        self.prepared = True
        self.run("demo", "--quick", "--quiet", "--dir", str(self.workspace))
        yaml = self.workspace / "demo.yaml"
        lasting = {"num_train_epochs": "10000", "save_steps": "1000000", "eval_steps": "0"}
        lines = [line for line in yaml.read_text().splitlines() if line.split(":")[0] not in lasting]
        yaml.write_text("\n".join(lines + [f"{k}: {v}" for k, v in lasting.items()]) + "\n")

    def screen(self, *args, pictures="off"):
        env = dict(self.env, LORASCOPE_PICTURES=pictures) if pictures else self.env
        return Terminal(self.program, list(args), self.size, env)

    def settled(self, screen):
        """Waits until the data are there and nothing is sent any more."""
        screen.until("the first frame", lambda: FRAME_ENDS in screen.tail)
        quiet = time.monotonic()
        while time.monotonic() - quiet < 3:
            if screen.take(0.1):
                quiet = time.monotonic()

    # What is measured

    def frames(self):
        measured = json.loads(self.run("bench", "screen", "--json", "--quiet"))
        for pane in measured["panes"]:
            self.report(f"update + draw, {pane['name']}, p99 of {pane['frames']}", pane["p99_ms"], "ms", "< 5 ms", BARS["frames"])

    def start(self):
        self.prepare()
        took = []
        for _ in range(20):
            # As it is started: it asks the terminal for pictures, after the first frame.
            screen = self.screen("--workspace", str(self.workspace), pictures=None)
            screen.until("the first frame", lambda: FRAME_ENDS in screen.tail)
            took.append((time.monotonic() - screen.began) * 1000)
            screen.close()
        self.report("start to first frame, p50 of 20", statistics.median(took), "ms", "< 150 ms", BARS["start"])
        print(f"  from {min(took):.1f} to {max(took):.1f} ms")

    def idle(self):
        self.prepare()
        screen = self.screen("--workspace", str(self.workspace))
        self.settled(screen)
        bytes_before, core_before, began = screen.bytes, core_seconds(screen.pid), time.monotonic()
        take_for([screen], 20)
        seconds = time.monotonic() - began
        share = 100 * (core_seconds(screen.pid) - core_before) / seconds
        self.report("idle for 20 s, bytes", screen.bytes - bytes_before, "bytes", "0 bytes/s", BARS["idle bytes"])
        self.report("idle for 20 s, all threads", share, "% of core", "< 0.5 %", BARS["idle core"])
        screen.close()

    def bytes(self):
        self.prepare()
        screen = self.screen("--workspace", str(self.workspace))
        self.settled(screen)
        screen.press("t")
        run = self.run_that_trains(screen)
        slow = self.screen("watch", str(run), "--low-bandwidth")
        both = [screen, slow]
        slow.until("the watched run", lambda: FRAME_ENDS in slow.tail)
        take_for(both, 5)  # the past of the run
        before, steps, began = [t.bytes for t in both], self.steps(run), time.monotonic()
        core_before = core_seconds(screen.pid)
        take_for(both, 60)
        seconds = time.monotonic() - began
        core = 100 * (core_seconds(screen.pid) - core_before) / seconds
        usual, low = [(t.bytes - b) / seconds for t, b in zip(both, before)]
        rate = (self.steps(run) - steps) / seconds
        self.report("a training watched for 60 s", usual, "bytes/s", "< 4 KB/s", BARS["bytes"])
        self.report("the same in low-bandwidth mode", low, "bytes/s", "< 1 KB/s", BARS["bytes slow"])
        print(f"  {self.size[0]}x{self.size[1]}, {rate:.1f} logged rows/s, the workbench takes {core:.2f} % of a core")
        slow.close()
        self.run("watch", str(run), "--tell", "stop-now")
        screen.close()

    def steps(self, run):
        return (run / "events.jsonl").read_bytes().count(b'"event":"step"')

    def run_that_trains(self, screen):
        found = []

        def there():
            sockets = self.workspace.glob("runs/*/run.sock")
            found[:] = [s.parent for s in sockets if (s.parent / "events.jsonl").exists() and self.steps(s.parent) > 2]
            return found

        screen.until("a run that trains", there)
        return found[0]

    def cost(self):
        self.prepare()
        speeds = {"alone": [], "workbench": [], "watch": []}
        steps = self.steps_for(self.seconds)
        for number in range(self.rounds):
            # Each begins a round as often as the others: what the machine does meanwhile is shared out.
            ways = list(speeds)
            ways = ways[number % 3:] + ways[:number % 3]
            for way in ways:
                speeds[way].append(self.speed(way, number, steps))
            print("  " + "  ".join(f"{way} {all[-1]:.2f}" for way, all in speeds.items()) + " samples/s", flush=True)
        alone = statistics.median(speeds.pop("alone"))
        for way, all in speeds.items():
            lost = 100 * (1 - statistics.median(all) / alone)
            self.report(f"{way}: samples/s lost, medians of {self.rounds}", lost, "%", "< 2 %", BARS["cost"])

    def steps_for(self, seconds):
        """Updates that take about so long."""
        results = self.train("steps", 20)
        return max(20, int(20 * seconds / max(results["train_runtime"], 0.1)))

    def train(self, name, steps, attach=None):
        run = self.workspace / "runs" / name
        args = ["train", str(self.workspace / "demo.yaml"), f"output_dir={run}", f"max_steps={steps}", "--quiet", "--json"]
        child = subprocess.Popen([self.program, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)
        self.children.append(child)
        screen = None
        while child.poll() is None:
            if screen:
                screen.take(0.2)
                continue
            time.sleep(0.02)
            if attach and (run / "run.sock").exists():
                screen = attach(run)
        if screen:
            screen.close()
        if child.returncode or (attach and not screen):
            raise SystemExit(f"the training ended with {child.returncode}, watched: {bool(screen)}")
        return json.loads((run / "train_results.json").read_text())

    def speed(self, way, number, steps):
        ways = {"alone": None, "watch": lambda run: self.screen("watch", str(run)),
                "workbench": lambda run: self.screen("--workspace", str(self.workspace))}
        name = f"{way}-{number}"
        speed = self.train(name, steps, ways[way])["train_samples_per_second"]
        shutil.rmtree(self.workspace / "runs" / name)
        return speed

    def end(self):
        """Whatever still goes on ends: screens, trainings, and runs that a workbench has started."""
        for screen in list(Terminal.all):
            screen.close()
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        for lock in self.dir.glob("workspace/runs/*/run.lock"):
            number = lock.read_text().strip()
            command = pathlib.Path(f"/proc/{number}/cmdline")
            # The number may be another's by now.
            if number.isdigit() and command.exists() and command.read_bytes().startswith(b"lorascope\0train"):
                os.kill(int(number), signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--only", default="frames,start,idle,bytes,cost")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--size", default="200x60")
    args = parser.parse_args()
    parts = args.only.split(",")
    size = re.fullmatch(r"(\d+)x(\d+)", args.size)
    unknown = [p for p in parts if p not in ("frames", "start", "idle", "bytes", "cost")]
    if not size or unknown or not args.program.exists():
        parser.error(f"not understood: {unknown or args.size}" if args.program.exists() else "no such program")
    bench = Bench(str(args.program.resolve()), tuple(map(int, size.groups())), args.rounds, args.seconds)
    atexit.register(bench.end)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    for part in parts:
        getattr(bench, part)()
    if bench.missed:
        print(f"missed: {', '.join(bench.missed)}")
        sys.exit(1)


main()
