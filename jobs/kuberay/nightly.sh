#!/bin/sh
# Creates the RayJob of this folder, or adopts the one that is running, waits for it to end, and succeeds or fails as it did.
set -eu
export HOME=/tmp
label=app.kubernetes.io/name=mogface-batch
folder=$(dirname "$0")

states() {
  kubectl get rayjobs -l "$label" -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.jobDeploymentStatus}{"\n"}{end}'
}

name=$(states | awk '$2 != "Complete" && $2 != "Failed" { print $1; exit }')
if [ -z "$name" ]; then
  # Last night's RayJob is kept until now, so that its log can be read.
  states | awk '{ print $1 }' | while read -r finished; do kubectl delete rayjob "$finished"; done
  name=$(kubectl create -f "$folder/rayjob.yaml" -o jsonpath='{.metadata.name}')
fi
echo "waiting for RayJob $name"

while :; do
  state=$(kubectl get rayjob "$name" -o jsonpath='{.status.jobDeploymentStatus} {.status.jobStatus} {.status.message}')
  case $state in
    "Complete SUCCEEDED"*) echo "$name succeeded"; exit 0 ;;
    Complete\ *|Failed\ *) echo "$name failed: $state. The exit code is in run.json of the output." >&2; exit 1 ;;
  esac
  sleep "${POLL_S:-15}"
done
