"""Writes the machines of each instance group as a file for Prometheus' file_sd_configs. What is there stays when the cloud does not answer."""

import json
import os
import sys
import urllib.request

METADATA = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
GROUPS = "https://compute.api.cloud.yandex.net/compute/v1/instanceGroups"


def fetch(url, headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return json.load(answer)


def list_instances(token, group_id):
    instances, page = [], ""
    while True:
        url = f"{GROUPS}/{group_id}/instances?pageSize=100&pageToken={page}"
        answer = fetch(url, {"Authorization": f"Bearer {token}"})
        instances += answer.get("instances", [])
        page = answer.get("nextPageToken", "")
        if not page:
            return instances


def make_targets(instances, port, more=None):
    """One entry for each machine that has an address yet."""
    for instance in sorted(instances, key=lambda instance: instance["name"]):
        for interface in instance.get("networkInterfaces", [])[:1]:
            address = interface.get("primaryV4Address", {}).get("address")
            if address:
                labels = {"instance": instance["name"], "zone": instance.get("zoneId", ""), **(more or {})}
                yield {"targets": [f"{address}:{port}"], "labels": labels}


def main(groups_path, directory):
    with open(groups_path, encoding="utf-8") as file:
        groups = json.load(file)
    token = fetch(METADATA, {"Metadata-Flavor": "Google"})["access_token"]
    for job, group in groups.items():
        targets = list(make_targets(list_instances(token, group["id"]), group["port"], group.get("labels")))
        path = os.path.join(directory, f"{job}.json")
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(targets, file, indent=2)
        os.chmod(f"{path}.new", 0o644)
        # In one step: Prometheus must not read half a file.
        os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
