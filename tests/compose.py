#!/usr/bin/env python3
"""Whether a rendered compose file names nothing that is not there, and publishes no port twice."""

import sys
from collections import Counter
from pathlib import Path

import yaml


def faults(compose):
    """What is wrong with it, in words."""
    services = compose["services"]
    declared = {"networks": set(compose.get("networks") or {}), "volumes": set(compose.get("volumes") or {})}
    for name, service in services.items():
        for other, how in (service.get("depends_on") or {}).items():
            if other not in services:
                yield f"{name} depends on {other}, which is no service"
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name} waits until {other} is healthy, which nobody asks it"
        for network in service.get("networks") or []:
            if network not in declared["networks"]:
                yield f"{name} is on the network {network}, which is not declared"
        for mount in service.get("volumes") or []:
            source = mount["source"] if isinstance(mount, dict) else mount.split(":")[0]
            if not source.startswith((".", "/")) and source not in declared["volumes"]:
                yield f"{name} mounts the volume {source}, which is not declared"
    published = Counter(port.rsplit(":", 1)[0] for service in services.values() for port in service.get("ports") or [])
    for port, count in published.items():
        if count > 1:
            yield f"{port} is published {count} times"


def main(path):
    compose = yaml.safe_load(Path(path).read_text())
    found = list(faults(compose))
    for fault in found:
        print(f"fault: {fault}")
    print(f"{len(compose['services'])} services are rendered", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
