#!/usr/bin/env python3
"""Writes what the release binary is made of, as a CycloneDX bill of materials: python3 tests/run.py --only sbom

Components are the crates that `cargo tree` finds for a release build, without those of tests alone; hashes are those
of Cargo.lock, licences those that each crate states. What only builds (macros, build scripts, and what they use) has
the scope `excluded`: it is not in the binary. C libraries (SQLite, mimalloc, zstd) stand under the crates that bring
their source.

The same checkout gives the same file: there is no time in it, and its number comes from what it says. With --binary,
the list that `cargo auditable` put into a binary is held against it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import uuid
import zlib
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
SPEC = "1.5"
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


class Failed(Exception):
    """The bill would not be right; the text says why."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--target", help="the platform, as rustc names it (default: this one)")
    parser.add_argument("--binary", type=Path, help="a binary that `cargo auditable build` made for it")
    chosen = parser.parse_args()
    try:
        bill = bill_of(chosen.target or host())
        text = json.dumps(bill, indent=2, ensure_ascii=False) + "\n"
        validate(text)
        if chosen.binary:
            compare(bill, chosen.binary)
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text, encoding="utf-8")
    built = sum(component.get("scope") == "excluded" for component in bill["components"])
    print(f"{chosen.out}: {len(bill['components'])} crates, {built} of them only to build; valid CycloneDX {SPEC}")


def answer_of(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command[:2])} ended with code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def host():
    lines = answer_of("rustc", "-vV").splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))


def bill_of(target):
    """The whole document."""
    metadata = json.loads(answer_of(
        "cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    linked, all_ = tree(target, "normal,no-proc-macro"), tree(target, "normal,build")
    locked = checksums()
    # `cargo metadata` also knows crates that features of tests alone ask for.
    packages = {package["id"]: package for package in metadata["packages"] if key(package) in all_}
    if missing := all_ - {key(package) for package in packages.values()} or all_ - locked.keys():
        raise Failed(f"not known to cargo metadata and Cargo.lock alike: {sorted(missing)}")
    root = packages.pop(metadata["resolve"]["root"])
    components = [component(package, locked[key(package)], key(package) in linked) for package in packages.values()]
    everything = {root["id"]: root} | packages
    edges = [dependency(node, everything) for node in metadata["resolve"]["nodes"] if node["id"] in everything]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            "component": described(root, "application"),
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": sorted(components, key=lambda entry: entry["bom-ref"]),
        "dependencies": sorted(edges, key=lambda edge: edge["ref"]),
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))
    return bill | {"serialNumber": f"urn:uuid:{number}"}


def tree(target, edges):
    """Names and versions of the crates of a release build."""
    listed = answer_of("cargo", "tree", "--locked", "--target", target, "--edges", edges, "--prefix", "none",
                       "--no-dedupe", "--format", "{p}")
    # Such as `serde v1.0.228 (proc-macro)`.
    return {(name, version.removeprefix("v")) for name, version in
            (line.split(" ")[:2] for line in listed.splitlines() if line)}


def checksums():
    """Of each crate in Cargo.lock, its hash; none for our own."""
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    found = {}
    for package in packages:
        if package.get("source", CRATES_IO) != CRATES_IO:
            raise Failed(f"{package['name']} is not from crates.io: say here how it is named")
        found[key(package)] = package.get("checksum")
    return found


def key(package):
    return package["name"], package["version"]


def purl(package):
    return f"pkg:cargo/{package['name']}@{quote(package['version'], safe='.-')}"


def described(package, kind):
    """What is said of every package."""
    entry = {"type": kind, "bom-ref": purl(package), "name": package["name"], "version": package["version"],
             "purl": purl(package)}
    if package["description"]:
        entry["description"] = " ".join(package["description"].split())
    # Old crates write a slash for OR.
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace(" / ", "/").replace("/", " OR ")}]
    elif package["license_file"]:
        entry["licenses"] = [{"license": {"name": f"as {package['license_file']} of the crate says"}}]
    else:
        raise Failed(f"{package['name']} states no licence")
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def component(package, checksum, is_linked):
    if not checksum:
        raise Failed(f"Cargo.lock has no hash of {package['name']}")
    hashes = [{"alg": "SHA-256", "content": checksum}]
    return described(package, "library") | {"scope": "required" if is_linked else "excluded", "hashes": hashes}


def dependency(node, packages):
    """What a package needs to be built and run, of what is in the bill."""
    needed = {dep["pkg"] for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])}
    return {"ref": purl(packages[node["id"]]),
            "dependsOn": sorted(purl(packages[id_]) for id_ in needed if id_ in packages)}


def validate(text):
    """Against the schema of CycloneDX, and what a schema cannot say."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from license_expression import get_spdx_licensing

    if error := JsonStrictValidator(SchemaVersion[f"V{SPEC.replace('.', '_')}"]).validate_str(text):
        raise Failed(f"not valid CycloneDX {SPEC}: {error}")
    bill, spdx = json.loads(text), get_spdx_licensing()
    for entry in bill["components"]:
        for licence in entry["licenses"]:
            if "expression" in licence and (errors := spdx.validate(licence["expression"]).errors):
                raise Failed(f"{entry['name']}: {errors}")
    reached, next_ = set(), [bill["metadata"]["component"]["bom-ref"]]
    edges = {edge["ref"]: edge["dependsOn"] for edge in bill["dependencies"]}
    while next_:
        ref = next_.pop()
        if ref not in reached:
            reached.add(ref)
            next_ += edges[ref]
    if lost := edges.keys() - reached:
        raise Failed(f"nothing needs {sorted(lost)}")


def compare(bill, binary):
    """What is linked must be in the list that the binary carries, and that list must come from Cargo.lock."""
    with tempfile.TemporaryDirectory() as folder:
        section = Path(folder) / "dep-v0"
        answer_of("objcopy", "-O", "binary", "--only-section=.dep-v0", "--set-section-flags", ".dep-v0=alloc",
                  str(binary), str(section))
        packed = section.read_bytes() if section.exists() else b""
    if not packed:
        raise Failed(f"{binary} has no list of dependencies: was it built by `cargo auditable build`?")
    told = json.loads(zlib.decompress(packed))["packages"]
    # What only builds may be counted otherwise there.
    ours = {key(entry): entry["scope"] for entry in bill["components"]}
    theirs = {key(package) for package in told if not package.get("root")}
    if lost := {crate for crate, scope in ours.items() if scope == "required"} - theirs:
        raise Failed(f"{binary} does not know that it has {sorted(lost)}")
    more = theirs - ours.keys()
    # It also counts what a crate names for no platform at all, to hold a version together (jiff-static).
    if unknown := more - checksums().keys():
        raise Failed(f"{binary} has what Cargo.lock does not know: {sorted(unknown)}")
    names = ", ".join(sorted(name for name, _ in more)) or "no others"
    print(f"{binary} carries a list of {len(theirs)} crates, with all that are linked; beside the bill: {names}")


if __name__ == "__main__":
    main()
