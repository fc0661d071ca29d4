"""Writes the machines of each instance group as a file for Prometheus' file_sd_configs. What is there stays when the cloud does not answer.

Groups come and go with releases: they are found by name. collector-blue is of the role collector, and its colour is blue.
"""

import json
import os
import sys
import urllib.parse
import urllib.request

METADATA = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
GROUPS = "https://compute.api.cloud.yandex.net/compute/v1/instanceGroups"


def fetch(url, headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return json.load(answer)


def list_all(token, url, key, **query):
    found, page = [], ""
    while True:
        parameters = urllib.parse.urlencode({**query, "pageSize": 100, "pageToken": page})
        answer = fetch(f"{url}?{parameters}", {"Authorization": f"Bearer {token}"})
        found += answer.get(key, [])
        page = answer.get("nextPageToken", "")
        if not page:
            return found


def make_targets(instances, port, colour):
    """One entry for each machine that has an address yet."""
    for instance in sorted(instances, key=lambda instance: instance["name"]):
        for interface in instance.get("networkInterfaces", [])[:1]:
            address = interface.get("primaryV4Address", {}).get("address")
            if address:
                labels = {"instance": instance["name"], "zone": instance.get("zoneId", "")}
                if colour:
                    labels["colour"] = colour
                yield {"targets": [f"{address}:{port}"], "labels": labels}


def main(settings_path, directory):
    with open(settings_path, encoding="utf-8") as file:
        settings = json.load(file)
    token = fetch(METADATA, {"Metadata-Flavor": "Google"})["access_token"]
    prefix, ports = settings["prefix"], settings["ports"]
    files = {}
    for group in list_all(token, GROUPS, "instanceGroups", folderId=settings["folder"]):
        name = group["name"][len(prefix) :]
        role, _, colour = name.partition("-")
        if group["name"].startswith(prefix) and role in ports:
            instances = list_all(token, f"{GROUPS}/{group['id']}/instances", "instances")
            files[f"{name}.json"] = list(make_targets(instances, ports[role], colour))
    for name, targets in files.items():
        path = os.path.join(directory, name)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(targets, file, indent=2)
        os.chmod(f"{path}.new", 0o644)
        # In one step: Prometheus must not read half a file.
        os.replace(f"{path}.new", path)
    for name in set(os.listdir(directory)) - set(files):
        os.remove(os.path.join(directory, name))


if __name__ == "__main__":
    main(*sys.argv[1:])
