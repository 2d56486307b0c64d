#!/usr/bin/env python3
"""A server under load for an hour, whose memory must be flat: python3 tests/run.py --only soak

It starts `attache serve` on a store of its own, and gives it rounds of load until the time is over: filings at a rate,
withdrawn at the end of each round; lookups, lists and searches; watchers who stay for the whole time, others who come
and go, some that stop reading, one that replays the log. A round ends with a lull, in which nobody is there but those
who stay. Every second the server's resident memory, descriptors and threads are read from /proc, and its own numbers
from the admin port.

The store grows, as a log does; the server must not. Caches grow to their bounds, which those of records, of sets of terms
and of words may not reach in an hour; they say what they hold. The last quarter is held against the second, by medians:

- resident memory, less what the caches hold, may have grown by 5 % and 8 MiB;
- descriptors, threads, connections and watches in the lulls may differ by 2: whoever left is forgotten.

No call may fail, `attache verify` must find every guarantee of the running server held and its store sound, and the
server must end by itself when it is told to. Exit code 1, with the reasons, otherwise.

A run that is too short to fill the caches is a trial: it tells how memory and threads grew, and does not judge that.
"""

import argparse
import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
# How much more memory the last quarter may have than the second.
GROWTH_SHARE, GROWTH_BYTES = 0.05, 8 * MIB
# How far what is counted in lulls may be apart.
COUNT_SLACK = 2
# In less time the caches are not full after a quarter: the feed's ring takes 64 MiB of events.
JUDGED_SECONDS, JUDGED_RATE = 1800, 50
# A round of an hour's run; shorter runs have shorter ones, so that every quarter has one.
ROUND_SECONDS = 60
# Of a round, the share under load and the share without, at least. The rest is for filings to be withdrawn.
LOAD_SHARE, LULL_SHARE = 0.6, 0.25
# What the lookups, lists and searches of the first round find.
RECORDS = 5000
# The server's start, the end of a command after its load is over, and the server's end.
START_SECONDS, GRACE_SECONDS, STOP_SECONDS = 60, 120, 60
VERIFY_SECONDS = 10
# Caches by what their numbers are called, which are bounded (src/limits.rs).
CACHES = {"the feed's ring": "ring_bytes", "records": "records_bytes", "sets of versions by term": "term_sets_bytes",
          "sounds of words": "sounds_bytes"}
# Watchers who stay: connections, and watches on each.
STAYING = (2, 10)


class Failed(Exception):
    """The run cannot go on; the text says why."""


@dataclass
class Sample:
    """The server at one second."""
    quarter: int
    lull: bool
    resident: int
    anonymous: int
    descriptors: int
    threads: int
    told: dict


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path, help="the server, and its clients")
    parser.add_argument("--folder", type=Path, required=True, help="where the store is put; what is there is deleted")
    parser.add_argument("--seconds", type=int, default=3600, help="how long the load lasts (default 3600)")
    parser.add_argument("--rate", type=int, default=100, help="filings a second (default 100)")
    chosen = parser.parse_args()
    if chosen.seconds < 40 or chosen.rate < 1:
        parser.error("a run takes 40 seconds at least, and files something")
    if not Path("/proc/self/status").exists():
        sys.exit("FAILED: memory is read from /proc, which only Linux has")
    # Told to end, it ends its children as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("FAILED: it was told to end"))
    try:
        reasons = soak(chosen.binary.resolve(), chosen.folder, chosen.seconds, chosen.rate)
    except Failed as failure:
        reasons = [str(failure)]
    except KeyboardInterrupt:
        reasons = ["interrupted"]
    if reasons:
        sys.exit("\n".join(f"FAILED: {reason}" for reason in reasons))


def soak(binary, folder, seconds, rate):
    """The whole run; what is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = folder / "store"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(binary, store, folder / "server.log"))
        clients = stack.enter_context(Clients(binary, server.url))
        print(f"{server.url}, process {server.pid}, store in {store}", flush=True)
        clients.finish(clients.begin("fill", "--yes-write", "--records", RECORDS), START_SECONDS + GRACE_SECONDS)
        samples = load(server, clients, seconds, rate)
        reasons = judge(samples, seconds, rate) + clients.told()
        reasons += verified(binary, "--server", server.url, "--seconds", VERIFY_SECONDS)
        reasons += server.stop()
        reasons += verified(binary, "--data-dir", store)
    # A store that something is wrong with is kept for whoever looks for it.
    if not reasons:
        shutil.rmtree(store)
    return reasons


# The load


def load(server, clients, seconds, rate):
    """Rounds of load until the time is over, watched every second."""
    rounds = 4 * max(1, seconds // (4 * ROUND_SECONDS))
    length = seconds / rounds
    print(f"{rounds} rounds of {length:.0f} s, {rate} filings a second, {lanes_told()}", flush=True)
    watched = Watched(server, seconds)
    stay = threading.Event()
    staying = threading.Thread(target=watch_on, args=(clients, stay), daemon=True)
    with watched:
        staying.start()
        began = time.monotonic()
        try:
            for number in range(rounds):
                watched.quarter = number * 4 // rounds
                load_round(clients, max(1, int(length * LOAD_SHARE)), rate)
                clients.check()
                watched.lull = True
                # Longer if the round was done before its time: an hour is one.
                watched.wait(max(length * LULL_SHARE, began + (number + 1) * length - time.monotonic()))
                watched.lull = False
        finally:
            stay.set()
            clients.interrupt_staying()
            staying.join(GRACE_SECONDS)
    return watched.samples


def lanes_told():
    connections, watches = STAYING
    return f"{connections * watches} watchers who stay, 104 who come and go"


def load_round(clients, seconds, rate):
    """All kinds of load at once, for so long; back when the last call is answered."""
    third = max(1, seconds // 3)
    lanes = [
        [("file", "--yes-write", "--rate", rate, *size(2, 8, seconds))],
        [("lookup", *size(2, 4, third)), ("list", *size(1, 2, third)), ("search", *size(1, 2, third))],
        [("watch", "--start", "now", "--slow", 4, *size(5, 10, third)),
         ("watch", "--start", "oldest", *size(1, 1, third)),
         ("watch", "--start", "now", *size(49, 1, third))],
    ]
    threads = [threading.Thread(target=clients.one_after_another, args=(lane, seconds), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def size(connections, streams, seconds):
    return ("--connections", connections, "--streams", streams, "--seconds", seconds, "--warm-up", 0)


def watch_on(clients, stay):
    """Watchers who stay; an hour is the longest that one command watches."""
    while not stay.is_set():
        clients.stay(("watch", "--start", "now", *size(*STAYING, 3600)))


class Clients:
    """Runs of `attache bench`, and what came of them."""

    def __init__(self, binary, url):
        self.binary, self.url = binary, url
        self.lock = threading.Lock()
        self.running = set()
        self.staying = None
        self.calls, self.unsent = {}, 0
        self.troubles = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.lock:
            for child in self.running:
                child.kill()

    def begin(self, *arguments):
        command = [self.binary, "bench", *arguments, "--server", self.url, "-o", "json"]
        child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        child.name = arguments[0]
        with self.lock:
            self.running.add(child)
        return child

    def finish(self, child, seconds):
        """Waits for the end, and counts; what does not end is killed."""
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            self.trouble(f"bench {child.name} did not end in {seconds} s")
        with self.lock:
            self.running.discard(child)
        if child.returncode != 0:
            self.trouble(f"bench {child.name} ended with code {child.returncode}: {said(out, err)}")
        with contextlib.suppress(json.JSONDecodeError):
            result = json.loads(out)
            with self.lock:
                self.calls[child.name] = self.calls.get(child.name, 0) + result.get("calls", 0)
                self.unsent += result.get("unsent", 0)

    def one_after_another(self, lane, seconds):
        for arguments in lane:
            self.finish(self.begin(*arguments), seconds + GRACE_SECONDS)

    def stay(self, arguments):
        self.staying = self.begin(*arguments)
        self.finish(self.staying, 3600 + GRACE_SECONDS)

    def interrupt_staying(self):
        """Ctrl-C: they tell what they saw, and end with code 0."""
        if self.staying and self.staying.poll() is None:
            self.staying.send_signal(signal.SIGINT)

    def trouble(self, text):
        with self.lock:
            self.troubles.append(text)

    def check(self):
        """A call that failed will not be made good by the rest of the hour."""
        if self.troubles:
            raise Failed("; ".join(self.troubles))

    def told(self):
        """Prints how much was done; what went wrong."""
        counts = ", ".join(f"{count:,} of {name}" for name, count in sorted(self.calls.items()) if name != "fill")
        print(f"calls and deliveries: {counts}; filings that were due and not sent: {self.unsent:,}", flush=True)
        return self.troubles


def said(out, err):
    """The last that a command said, in a line."""
    with contextlib.suppress(json.JSONDecodeError):
        if errors := json.loads(out).get("errors"):
            return json.dumps(errors)[:500]
    return " ".join((err or out).split())[-500:]


# The server


class Server:
    """`attache serve` on ports that the system picks."""

    def __init__(self, binary, store, log):
        self.binary, self.store, self.log = binary, store, log

    def __enter__(self):
        command = [self.binary, "serve", "--data-dir", self.store, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log)
        self.pid = self.process.pid
        try:
            self.url, self.metrics = self.addresses()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def addresses(self):
        """What it says when it listens."""
        text, deadline = "", time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() < deadline and ready.select(deadline - time.monotonic()):
                piece = os.read(self.process.stdout.fileno(), 4096)
                text += piece.decode()
                found = [re.search(rf"^{words} (http://\S+)\n", text, re.M) for words in ("listening on", "metrics at")]
                if all(found):
                    return [match[1] for match in found]
                if not piece:
                    break
        raise Failed(f"the server did not start; it said: {text.strip()} {self.log.read_text().strip()[-500:]}")

    def stop(self):
        """Tells it to end; what is wrong about that."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"the server did not end in {STOP_SECONDS} s"]
        return [f"the server ended with code {code}; see {self.log}"] if code != 0 else []

    def sample(self, quarter, lull):
        proc = Path("/proc") / str(self.pid)
        try:
            status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
            return Sample(
                quarter, lull, kib(status["VmRSS"]), kib(status["RssAnon"]), len(os.listdir(proc / "fd")),
                int(status["Threads"]), self.numbers())
        except (OSError, KeyError) as error:
            code = self.process.poll()
            what = f"does not answer on its admin port: {error}" if code is None else f"ended with code {code}"
            raise Failed(f"the server {what}; see {self.log}") from None

    def numbers(self):
        """What it tells without labels."""
        with urllib.request.urlopen(self.metrics, timeout=10) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"^attache_(\w+) (\S+)$", text, re.M)}


def kib(text):
    return int(text.split()[0]) * 1024


class Watched:
    """Looks at the server every second, and tells of it every minute."""

    def __init__(self, server, seconds):
        self.server = server
        # However much later the load ends than it should, this many are enough.
        self.most = 4 * seconds
        self.quarter, self.lull = 0, False
        self.samples, self.failure = [], None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        self.begin = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def look(self):
        for second in range(self.most):
            if self.over.wait(max(0.0, self.begin + second - time.monotonic())):
                return
            lull = self.lull
            try:
                sample = self.server.sample(self.quarter, lull)
            except Failed as failure:
                self.failure = failure
                return
            # Looking takes a while on a busy machine: what the next round began meanwhile is not of the lull.
            sample.lull = lull and self.lull
            self.samples.append(sample)
            if second % 60 == 0:
                print(f"minute {second // 60:>3}: {shown(self.samples[-1])}", flush=True)
        self.failure = Failed("the load takes four times as long as it should")

    def wait(self, seconds):
        """Time passes, unless the server is gone."""
        self.over.wait(seconds)
        if self.failure:
            raise self.failure


def shown(sample):
    told = sample.told
    store, log, caches = (number / MIB for number in (told["store_bytes"], told["wal_bytes"], held(sample)))
    return (f"{sample.resident / MIB:.1f} MiB resident, {sample.descriptors} descriptors, {sample.threads} threads, "
            f"{told['watches']:.0f} watches, revision {told['revision']:.0f}, store {store:.0f} MiB, "
            f"write-ahead log {log:.0f} MiB, caches {caches:.1f} MiB")


# The judgement


def judge(samples, seconds, rate):
    """Prints the medians of the quarters; what grew that must not."""
    memory = {
        "resident": (lambda s: s.resident, samples),
        "of that, not of files": (lambda s: s.anonymous, samples),
        "less what caches hold": (lambda s: s.resident - held(s), samples),
        **{name: (lambda s, told=told: s.told[told], samples) for name, told in CACHES.items()},
        "the store": (lambda s: s.told["store_bytes"], samples),
    }
    lulls = last_of_lulls(samples)
    counts = {
        "descriptors": (lambda s: s.descriptors, lulls),
        "threads": (lambda s: s.threads, lulls),
        "connections": (lambda s: s.told["connections"], lulls),
        "watches": (lambda s: s.told["watches"], lulls),
    }
    print(f"\n{'median of quarter':<28}{'1':>10}{'2':>10}{'3':>10}{'4':>10}")
    found = {name: row(f"{name}, MiB", number, of, MIB) for name, (number, of) in memory.items()}
    found |= {name: row(f"{name}, in lulls", number, of, 1) for name, (number, of) in counts.items()}
    # A lull of a trial is shorter than idle threads are kept.
    trial = seconds < JUDGED_SECONDS or rate < JUDGED_RATE
    reasons = [f"{name} in lulls went from {found[name][1]:g} to {found[name][3]:g}; {COUNT_SLACK} apart are allowed"
               for name in counts if abs(found[name][3] - found[name][1]) > COUNT_SLACK
               and not (trial and name == "threads")]
    _, before, _, after = found["less what caches hold"]
    budget = before * GROWTH_SHARE + GROWTH_BYTES
    words = (f"resident memory less what caches hold went from {before / MIB:.1f} to {after / MIB:.1f} MiB, by {(after - before) / MIB:.1f}; "
             f"{budget / MIB:.1f} are allowed")
    print(f"\n{words}", flush=True)
    if trial:
        print(f"!!! NOT JUDGED: caches fill for longer than a quarter of this; {JUDGED_SECONDS} s and {JUDGED_RATE} "
              "filings a second are the least", flush=True)
    elif after - before > budget:
        reasons.append(words)
    return reasons


def held(sample):
    """What the caches say that they hold, in bytes."""
    return sum(sample.told[told] for told in CACHES.values())


def last_of_lulls(samples):
    """The last sample of each lull: whoever left has been noticed by then."""
    return [sample for sample, following in zip(samples, samples[1:] + [None])
            if sample.lull and not (following and following.lull)]


def row(name, number, samples, unit):
    """The medians of the four quarters, printed."""
    by_quarter = [[number(sample) for sample in samples if sample.quarter == quarter] for quarter in range(4)]
    if not all(by_quarter):
        raise Failed(f"there is a quarter without a sample for {name}")
    medians = [statistics.median(numbers) for numbers in by_quarter]
    print(f"{name:<28}" + "".join(f"{median / unit:>10.1f}" for median in medians))
    return medians


def verified(binary, *arguments):
    """`attache verify`, let through; what it found."""
    print(f"\n$ attache verify {' '.join(map(str, arguments))}", flush=True)
    command = [str(part) for part in (binary, "verify", *arguments)]
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=15 * 60).returncode
    except subprocess.TimeoutExpired:
        return [f"attache verify {arguments[0]} did not end in a quarter of an hour"]
    return [f"attache verify {arguments[0]} ended with code {code}"] if code != 0 else []


if __name__ == "__main__":
    main()
