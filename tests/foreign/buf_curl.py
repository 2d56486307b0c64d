"""Checks the contract from outside, with nothing but `buf curl` and the server's reflection:
buf_curl.py HOST:PORT [BUF]

One line for each promise; the first broken one ends it.
"""

import base64
import json
import subprocess
import sys

SAMPLE_VISIT = "visits/kz-mod-az-2023-10"
SERVICES = ["RegistryService", "FeedService", "FilingService", "LogService"]
DEADLINE_S = 30


class Curl:
    def __init__(self, address, buf):
        self.base, self.buf = f"http://{address}", buf

    def run(self, reflect, *arguments):
        command = [self.buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", reflect]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=DEADLINE_S)

    def call(self, method, request, reflect="grpc-v1"):
        """The messages of the answer."""
        done = self.run(reflect, "-d", json.dumps(request), f"{self.base}/{method}")
        assert done.returncode == 0, f"{method} failed: {done.stderr.strip()}"
        return messages(done.stdout)

    def refusal(self, method, request):
        """The error as buf prints it: code, message and details, each with its type and encoded value."""
        done = self.run("grpc-v1", "-d", json.dumps(request), f"{self.base}/{method}")
        assert done.returncode != 0, f"{method} was not refused"
        return json.loads(done.stderr[done.stderr.index("{") :])

    def methods(self, reflect):
        done = self.run(reflect, "--list-methods", self.base)
        assert done.returncode == 0, f"reflection by {reflect} failed: {done.stderr.strip()}"
        return set(done.stdout.split())


def messages(text):
    """JSON objects, one after the other."""
    found, decoder, text = [], json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def decoded(error):
    """The bytes of an error's details by type; buf leaves out the padding."""
    return {d["type"]: base64.b64decode(d["value"] + "=" * (-len(d["value"]) % 4)) for d in error["details"]}


def lists_the_methods(curl):
    """reflection lists the methods, the same by v1 and v1alpha"""
    listed = curl.methods("grpc-v1")
    assert listed == curl.methods("grpc-v1alpha"), "v1 and v1alpha differ"
    services = {method.rsplit("/", 1)[0] for method in listed}
    missing = {f"attache.v1.{name}" for name in SERVICES} - services
    assert not missing, f"{missing} are not listed among {services}"


def finds_visits(curl):
    """a list of visits of two states is found by v1 and v1alpha"""
    request = {"filters": [{"statesAll": ["AZ", "KZ"]}], "pageSize": 1000}
    for reflect in ("grpc-v1", "grpc-v1alpha"):
        (answer,) = curl.call("attache.v1.RegistryService/ListVisits", request, reflect)
        assert SAMPLE_VISIT in [visit["name"] for visit in answer["visits"]], answer
        assert answer["token"]


def watches(curl):
    """a watch from the oldest event until caught up begins with `started` and ends with `end`"""
    frames = curl.call("attache.v1.FeedService/WatchEvents", {"oldest": {}, "caughtUp": {}})
    kinds = [next(iter(frame.keys() - {"token"})) for frame in frames]
    assert kinds[0] == "started" and kinds[-1] == "end" and kinds.count("caughtUp") == 1, kinds
    assert all(frame.get("token") for frame in frames), "a frame has no token"
    subjects = {event["subject"] for frame in frames for event in frame.get("batch", {}).get("events", [])}
    assert SAMPLE_VISIT in subjects, "the sample's visit has no event"


def prints_error_details(curl):
    """an error's details are readable"""
    error = curl.refusal("attache.v1.RegistryService/GetVisit", {"name": "visits/nowhere-at-all"})
    assert error["code"] == "not_found", error
    details = decoded(error)
    assert {"google.rpc.ErrorInfo", "google.rpc.ResourceInfo"} <= details.keys(), error
    assert b"RECORD_NOT_FOUND" in details["google.rpc.ErrorInfo"], error
    assert b"attache" in details["google.rpc.ErrorInfo"], error
    assert b"visits/nowhere-at-all" in details["google.rpc.ResourceInfo"], error


def reports_wrong_fields(curl):
    """an error about a field names its path"""
    error = curl.refusal("attache.v1.RegistryService/ListVisits", {"pageSize": -1})
    assert error["code"] == "invalid_argument", error
    assert b"page_size" in decoded(error)["google.rpc.BadRequest"], error


def tells_about_the_log(curl):
    """the log tells its epoch and position"""
    (info,) = curl.call("attache.v1.LogService/GetLogInfo", {})
    assert info["epoch"] and info["token"] and info["oldestToken"] and int(info["revision"]) > 0, info


def is_healthy(curl):
    """health is SERVING, overall and of each service"""
    for service in ["", *(f"attache.v1.{name}" for name in SERVICES)]:
        (answer,) = curl.call("grpc.health.v1.Health/Check", {"service": service})
        assert answer["status"] == "SERVING", f"{service or 'overall'}: {answer}"


PROMISES = [
    lists_the_methods,
    finds_visits,
    watches,
    prints_error_details,
    reports_wrong_fields,
    tells_about_the_log,
    is_healthy,
]


def main():
    curl = Curl(sys.argv[1], *sys.argv[2:3] or ["buf"])
    for promise in PROMISES:
        try:
            promise(curl)
        except (AssertionError, KeyError, ValueError, subprocess.TimeoutExpired) as broken:
            sys.exit(f"BROKEN  {promise.__doc__}\n        {type(broken).__name__}: {broken}")
        print(f"kept    {promise.__doc__}", flush=True)


if __name__ == "__main__":
    main()
