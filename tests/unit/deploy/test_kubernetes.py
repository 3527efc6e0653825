"""The manifests fit Kubernetes' own schemas, and the pods keep the rules the images need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from apps.models.health import Sight
from apps.models.selectors import Placement
from engine.messages import EngineBeat, EngineState
from inference_site.config import ServerSettings
from inference_site.launcher.stop import GRACE_S, LAST_ACCEPTED_S
from inference_site.metrics import exposition

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
BASE = FOLDER / "base"
SCALING = FOLDER / "autoscaling"
KUSTOMIZATION = "kustomization.yaml"


def documents(file: Path) -> list[dict[str, Any]]:
    return [doc for doc in yaml.safe_load_all(file.read_text(encoding="utf-8")) if doc]


def files() -> list[Path]:
    return [file for file in sorted(BASE.glob("*.yaml")) if file.name != KUSTOMIZATION]


def pods() -> list[Any]:
    found = [doc for file in files() for doc in documents(file)]
    return [
        pytest.param(doc["spec"]["template"]["spec"], id=doc["metadata"]["name"])
        for doc in found
        if doc["kind"] in ("Deployment", "Job", "StatefulSet")
    ]


@pytest.mark.parametrize("file", [*files(), SCALING / "engine.yaml"], ids=lambda file: file.name)
def test_every_manifest_fits_its_schema(file: Path) -> None:
    for document in documents(file):
        kubernetes_validate.validate(document, "1.31", strict=True)


def test_kustomize_names_every_file_once() -> None:
    named = documents(BASE / KUSTOMIZATION)[0]["resources"]
    assert sorted(named) == [file.name for file in files()]


def test_the_gpu_overlay_changes_a_deployment_there_is() -> None:
    patch = documents(FOLDER / "gpu" / "engine.yaml")[0]
    engine = documents(BASE / "engine.yaml")[0]
    assert patch["kind"] == engine["kind"] == "StatefulSet"  # host names come back
    assert patch["metadata"]["name"] == engine["metadata"]["name"]
    (changed,) = patch["spec"]["template"]["spec"]["containers"]
    (container,) = engine["spec"]["template"]["spec"]["containers"]
    assert changed["name"] == container["name"]
    assert changed["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize("pod", [p for p in pods() if p.id != "pagoda-migrate"])
def test_pods_wait_for_the_tables_of_their_release(pod: dict[str, Any]) -> None:
    (first,) = pod["initContainers"]
    assert "pagoda migrate --check" in first["command"][-1]


@pytest.mark.parametrize("pod", pods())
def test_pods_get_no_service_links_and_no_rights(pod: dict[str, Any]) -> None:
    assert pod["enableServiceLinks"] is False  # PAGODA_PORT=tcp://… ends every process
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize("pod", pods())
def test_every_pod_sees_the_files_of_models(pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        mounts = [(mount["name"], mount["mountPath"]) for mount in container["volumeMounts"]]
        assert ("models", "/var/lib/pagoda/models") in mounts


def test_engine_pods_scale_on_the_depth_of_the_queue() -> None:
    (scaler,) = documents(SCALING / "engine.yaml")
    engine = documents(BASE / "engine.yaml")[0]
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (engine["kind"], engine["metadata"]["name"])
    (metric,) = scaler["spec"]["metrics"]
    (rule,) = documents(SCALING / "adapter-values.yaml")[0]["rules"]["external"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    beat = EngineBeat(engine="e", model="m", state=EngineState.READY)
    assert rule["seriesQuery"] in exposition(Sight(Placement(), (beat,))).decode()
    (container,) = engine["spec"]["template"]["spec"]["containers"]
    assert {"name": "PAGODA_HOST_ENGINES", "value": "1"} in container["env"]


def test_a_web_pod_that_stops_gets_time_to_finish_its_streams() -> None:
    (web,) = [doc for doc in documents(BASE / "web.yaml") if doc["kind"] == "Deployment"]
    pod = web["spec"]["template"]["spec"]
    probes = pod["containers"][0]
    settings = documents(BASE / "configmap.yaml")[0]["data"]
    drain_s = ServerSettings().shutdown_timeout + GRACE_S
    lame_duck_s = int(settings["PAGODA_LAME_DUCK"])
    assert pod["terminationGracePeriodSeconds"] > lame_duck_s + LAST_ACCEPTED_S + drain_s
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/livez"
