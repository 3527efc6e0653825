"""What the running containers open, may do and load at every start, against short allow-lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.deploy.docker_engine import docker
from tests.deploy.installation import Installation

if TYPE_CHECKING:
    from tests.deploy.suite import Checks

OURS = ("web", "settler", "worker", "engine-cpu")
PORTS = {"web": {8000}, "settler": set(), "worker": set(), "engine-cpu": set()}
PTH = {"distutils-precedence.pth"}  # of setuptools, which comes with torch
LISTENING = """
import json
ports = set()
for name in ("/proc/net/tcp", "/proc/net/tcp6"):
    for line in open(name).readlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, port = local.split(":")
        if state == "0A" and not address.startswith("0B00007F"):  # Docker's own resolver
            ports.add(int(port, 16))
print(json.dumps(sorted(ports)))
"""
STARTED = """
import glob, json, os, site
found = [path for folder in site.getsitepackages() for path in glob.glob(folder + "/*.pth")]
print(json.dumps([os.path.basename(path) for path in found]))
"""


def check_all(site: Installation, check: Checks) -> None:
    for service in OURS:
        container = site.container(service)
        facts = json.loads(docker("inspect", container))[0]
        status = docker("exec", container, "cat", "/proc/1/status")
        words = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        check(f"{service} is not root", words["Uid"].split()[0] == "10001")
        check(f"{service} has no capabilities", int(words["CapEff"], 16) == 0)
        check(f"{service} can gain none", words["NoNewPrivs"].strip() == "1")
        check(f"{service} cannot write its image", facts["HostConfig"]["ReadonlyRootfs"])
        ports = set(json.loads(docker("exec", container, "python3", "-c", LISTENING)))
        check(f"{service} listens on {sorted(PORTS[service])} alone", ports == PORTS[service])
        pth = set(json.loads(docker("exec", container, "python3", "-c", STARTED)))
        check(f"{service} runs no unknown .pth file", pth <= PTH)
    published = {
        service: json.loads(docker("inspect", site.container(service)))[0]["NetworkSettings"]
        for service in (*OURS, "postgres", "redis", "proxy")
    }
    opened = {s for s, net in published.items() if any(net["Ports"].values())}
    check("only the proxy publishes a port", opened == {"proxy"})
    modules = docker(
        "exec", site.container("web"), "python3", "-c",
        "import importlib.util as u; print(u.find_spec('torch'))",
    )  # fmt: skip
    check("the web image holds no torch", modules == "None")
    checked = docker(
        "exec", "-e", "PAGODA_PUBLIC_URL=https://llm.example", site.container("web"),
        "pagoda", "check", "--deploy", "--fail-level", "WARNING",
    )  # fmt: skip
    check("check --deploy is clean behind https", "no issues" in checked)
