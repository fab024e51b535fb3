"""Airflow: every night one pod with one GPU annotates the new images of the bucket.

Copy it into the DAG folder, and change the image, the secret and the addresses. A try that Airflow repeats continues
where the one before stopped; a night without new images costs one listing.
"""

from datetime import timedelta

import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import models as k8s

with DAG(
    dag_id="faces_nightly",
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,  # one run does all that is new, so missed nights need no runs
    max_active_runs=1,
):
    KubernetesPodOperator(
        task_id="annotate",
        image="registry.example.com/mogface-batch:1",
        cmds=["mogface-batch", "annotate", "/etc/mogface-batch/faces.yaml"],
        # The task fails with every exit code but 0, so also with 6: too many images failed.
        arguments=["engine=local", "detect.workers=1"],
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name="mogface-batch-store"))],
        volumes=[
            k8s.V1Volume(name="config", config_map=k8s.V1ConfigMapVolumeSource(name="mogface-batch")),
            k8s.V1Volume(name="shm", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit="4Gi")),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="config", mount_path="/etc/mogface-batch", read_only=True),
            k8s.V1VolumeMount(name="shm", mount_path="/dev/shm"),  # noqa: S108 - where canvases pass between processes
        ],
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"},
            limits={"memory": "32Gi", "nvidia.com/gpu": "1"},
        ),
        # On SIGTERM the run publishes what is finished before the pod ends.
        termination_grace_period=60,
        on_finish_action="delete_succeeded_pod",
        retries=2,
        retry_delay=timedelta(minutes=10),
    )
