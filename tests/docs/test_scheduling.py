"""Tests of jobs/kuberay, jobs/airflow and docs/scheduling.md, without a cluster: by published schemas, strict models
of what has none on PyPI, and a stand-in for kubectl."""

# ruff: noqa: N815 - KubeRay's names

import ast
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from mogface_batch import config
from mogface_batch.cli import main

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "jobs/kuberay"
KUBERNETES = "1.33"
POD_LABELS = {"metadata": {"name": "pod"}}


# -- manifests -------------------------------------------------------------------------------------------------


class Strict(BaseModel):
    """Fields of KubeRay 1.6's `ray.io/v1`; one that is not listed is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Template(Strict):
    metadata: dict[str, Any] | None = None
    spec: dict[str, Any]


class HeadGroup(Strict):
    rayStartParams: dict[str, str]
    template: Template
    serviceType: str | None = None
    enableIngress: bool | None = None
    headService: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    resources: dict[str, str] | None = None


class WorkerGroup(Strict):
    groupName: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    replicas: Annotated[int, Field(ge=0)]
    minReplicas: Annotated[int, Field(ge=0)]
    maxReplicas: Annotated[int, Field(ge=0)]
    rayStartParams: dict[str, str]
    template: Template
    numOfHosts: int | None = None
    idleTimeoutSeconds: int | None = None
    suspend: bool | None = None
    scaleStrategy: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    resources: dict[str, str] | None = None


class Cluster(Strict):
    rayVersion: str
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]
    enableInTreeAutoscaling: bool | None = None
    autoscalerOptions: dict[str, Any] | None = None
    gcsFaultToleranceOptions: dict[str, Any] | None = None
    authOptions: dict[str, Any] | None = None
    headServiceAnnotations: dict[str, str] | None = None
    upgradeStrategy: dict[str, Any] | None = None
    managedBy: str | None = None
    suspend: bool | None = None


class RayJobSpec(Strict):
    entrypoint: str
    rayClusterSpec: Cluster
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] | None = None
    backoffLimit: Annotated[int, Field(ge=0)] = 0
    activeDeadlineSeconds: Annotated[int, Field(gt=0)] | None = None
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Annotated[int, Field(ge=0)] = 0
    runtimeEnvYAML: str | None = None
    submitterPodTemplate: Template | None = None
    submitterConfig: dict[str, Any] | None = None
    deletionStrategy: dict[str, Any] | None = None
    entrypointNumCpus: float | None = None
    entrypointNumGpus: float | None = None
    entrypointResources: str | None = None
    metadata: dict[str, str] | None = None
    managedBy: str | None = None
    suspend: bool | None = None


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: dict[str, Any]
    spec: RayJobSpec


def documents(name):
    return [document for document in yaml.safe_load_all((KUBERAY / name).read_text()) if document]


def ray_job():
    (document,) = documents("rayjob.yaml")
    return RayJob.model_validate(document)


def is_valid(document):
    kubernetes_validate.validate(document, KUBERNETES, strict=True)
    return True


def test_what_kubernetes_itself_knows_fits_its_schemas():
    kinds = [document["kind"] for document in documents("cronjob.yaml") if is_valid(document)]
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "CronJob"]

    wrong = documents("cronjob.yaml")[-1]
    wrong["spec"]["concurencyPolicy"] = wrong["spec"].pop("concurrencyPolicy")
    with pytest.raises(kubernetes_validate.ValidationError):
        is_valid(wrong)


def test_the_ray_job_fits_kuberay_and_its_pods_fit_kubernetes():
    job = ray_job()
    # A generated name, since two runs may stand beside each other.
    assert job.metadata["generateName"]
    assert "name" not in job.metadata
    cluster = job.spec.rayClusterSpec
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        assert is_valid(
            {"apiVersion": "v1", "kind": "Pod", **POD_LABELS, **group.template.model_dump(exclude_none=True)}
        )
    assert job.spec.shutdownAfterJobFinishes


def test_the_cron_job_forbids_an_overlap_and_may_handle_ray_jobs_only():
    _, role, binding, cron = documents("cronjob.yaml")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert role["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get", "list", "delete"]}
    ]
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == binding["subjects"][0]["name"]
    assert pod["containers"][0]["command"] == ["sh", "/job/nightly.sh"]


def test_the_files_agree_with_each_other():
    job, (kustomization,) = ray_job(), documents("kustomization.yaml")
    (generated,) = kustomization["configMapGenerator"]
    assert set(generated["files"]) == {"faces.yaml", "rayjob.yaml", "nightly.sh"}
    assert all((KUBERAY / name).is_file() for name in [*generated["files"], *kustomization["resources"]])

    (volume,) = job.spec.rayClusterSpec.headGroupSpec.template.spec["volumes"]
    cron = documents("cronjob.yaml")[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert volume["configMap"]["name"] == cron["volumes"][0]["configMap"]["name"] == generated["name"]
    (head,) = job.spec.rayClusterSpec.headGroupSpec.template.spec["containers"]
    assert job.spec.entrypoint == f"mogface-batch annotate {head['volumeMounts'][0]['mountPath']}/faces.yaml"

    chosen = config.load(KUBERAY / "faces.yaml")
    (workers,) = job.spec.rayClusterSpec.workerGroupSpecs
    (worker,) = workers.template.spec["containers"]
    assert chosen.detect.workers * chosen.detect.gpus == workers.replicas * int(
        worker["resources"]["limits"]["nvidia.com/gpu"]
    )
    label = re.search("^label=(.*)=(.*)$", (KUBERAY / "nightly.sh").read_text(), re.MULTILINE)
    assert job.metadata["labels"] == {label[1]: label[2]}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_builds_it():
    built = subprocess.run(["kubectl", "kustomize", str(KUBERAY)], capture_output=True, text=True, check=True)
    documents = list(yaml.safe_load_all(built.stdout))
    assert all(is_valid(document) for document in documents)
    (made,) = [document for document in documents if document["kind"] == "ConfigMap"]
    assert RayJob.model_validate(yaml.safe_load(made["data"]["rayjob.yaml"])) == ray_job()


# -- what the CronJob's pod does -------------------------------------------------------------------------------

# Notes each call; `get rayjobs` lists the file `jobs`; `get rayjob NAME` gives one line of `states` after the other.
KUBECTL = """#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$1 $2" in
  "get rayjobs") cat "$here/jobs" ;;
  "get rayjob") head -n 1 "$here/states"; sed -i 1d "$here/states" ;;
  "create -f") [ -f "$3" ] && printf mogface-batch-new ;;
  "delete rayjob") ;;
  *) exit 1 ;;
esac
"""


def nightly(folder, *, jobs="", states):
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    (folder / "jobs").write_text(jobs)
    (folder / "states").write_text("\n".join(states) + "\n")
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "POLL_S": "0"}
    done = subprocess.run(
        ["sh", KUBERAY / "nightly.sh"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    calls = [
        line.split(" -")[0]
        for line in (folder / "calls").read_text().splitlines()
        if line.startswith(("get", "create", "delete"))
    ]
    return done, calls


def test_a_night_creates_a_ray_job_and_waits_for_its_end(tmp_path):
    done, calls = nightly(
        tmp_path,
        jobs="mogface-batch-old Complete\n",
        states=["", "Initializing", "Running RUNNING", "Complete SUCCEEDED Job finished successfully."],
    )
    assert done.returncode == 0, done.stderr
    assert calls[0] == "get rayjobs"
    assert calls[1:4] == ["get rayjobs", "delete rayjob mogface-batch-old", "create"]
    assert calls[4:] == ["get rayjob mogface-batch-new"] * 4


@pytest.mark.parametrize(
    "last", ["Failed FAILED exit code 1", "Complete FAILED exit code 1", "Failed  deadline"]
)
def test_a_night_that_fails_says_so(tmp_path, last):
    done, _ = nightly(tmp_path, states=["Running RUNNING", last])
    assert done.returncode == 1
    assert "run.json" in done.stderr


def test_a_ray_job_under_way_is_adopted(tmp_path):
    done, calls = nightly(
        tmp_path,
        jobs="mogface-batch-1 Failed\nmogface-batch-2 Running\n",
        states=["Running RUNNING", "Complete SUCCEEDED"],
    )
    assert done.returncode == 0, done.stderr
    assert "create" not in calls
    assert not [call for call in calls if call.startswith("delete")]
    assert calls[-1] == "get rayjob mogface-batch-2"


def test_a_night_that_cannot_create_fails(tmp_path):
    shutil.copy(KUBERAY / "nightly.sh", tmp_path / "nightly.sh")
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "jobs").touch()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", tmp_path / "nightly.sh"], env=environment, timeout=60, check=False)
    assert done.returncode != 0


# -- Airflow, alerts -------------------------------------------------------------------------------------------


def test_the_dag_runs_the_real_command_once_at_a_time():
    # Airflow itself is too large for the tests: its own loader has read this file, see docs/scheduling.md.
    tree = ast.parse((ROOT / "jobs/airflow/faces_nightly.py").read_text())
    said = {
        keyword.arg: ast.literal_eval(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg in {"cmds", "arguments", "max_active_runs", "catchup"}
    }
    assert said["cmds"][:2] == ["mogface-batch", "annotate"]
    assert config.load(KUBERAY / "faces.yaml", said["arguments"]).detect.workers == 1
    assert (said["max_active_runs"], said["catchup"]) == (1, False)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@pytest.mark.parametrize(
    ("exit_code", "hours_ago", "is_well"), [(0, 1, True), (6, 1, False), (0, 30, False), (130, 1, False)]
)
def test_the_alert_of_the_page_reads_a_record(tmp_path, exit_code, hours_ago, is_well):
    command = re.search("^(jq -e .* )run.json$", (ROOT / "docs/scheduling.md").read_text(), re.MULTILINE)[1]
    finished = (datetime.now(UTC) - timedelta(hours=hours_ago)).replace(microsecond=0)
    record = tmp_path / "run.json"
    record.write_text(json.dumps({"exit_code": exit_code, "finished": finished.isoformat()}))
    done = subprocess.run(command + str(record), shell=True, capture_output=True, check=False)
    assert (done.returncode == 0) is is_well


def test_the_page_names_fields_that_a_record_has(tmp_path):
    page = (ROOT / "docs/scheduling.md").read_text()
    rows = page.partition("| in `run.json`")[2].splitlines()[2:]
    named = {
        name for row in rows if row.startswith("|") for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])
    }
    (tmp_path / "images").mkdir()
    (tmp_path / "images/broken.jpg").write_bytes(b"no image")
    main(
        [
            "annotate",
            str(ROOT / "configs/laptop.yaml"),
            f"manifest.uri={tmp_path}/images",
            f"output.uri={tmp_path}/out",
        ]
    )
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert len(named) >= 7
    for name in named:
        place = record
        for key in name.split("."):
            assert key in place, name
            place = place[key]
