"""What a container needs before it starts: its secrets, certificates, directory and image. Any failure is tried again by systemd."""

import json
import os
import subprocess
import sys
import urllib.request

METADATA = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
LOCKBOX = "https://payload.lockbox.api.cloud.yandex.net/lockbox/v1/secrets"


def fetch(url, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30) as answer:
        return answer.read()


def read_token():
    """The machine's own account: valid for hours, and used at once."""
    return json.loads(fetch(METADATA, {"Metadata-Flavor": "Google"}))["access_token"]


def read_secret(token, secret_id, key):
    payload = json.loads(fetch(f"{LOCKBOX}/{secret_id}/payload", {"Authorization": f"Bearer {token}"}))
    for entry in payload["entries"]:
        if entry["key"] == key:
            return entry["textValue"].encode()
    raise SystemExit(f"secret {secret_id} has no key {key}: add it, or correct the key in the machine's configuration")


def write(path, content, owner, mode):
    """The file is never readable by others, not even while it is written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.chown(path, owner, owner)


def pull(image, token, directory):
    """Logs in for this one pull: the token stays in memory, in a directory that goes with the unit."""
    environment = {**os.environ, "DOCKER_CONFIG": os.path.join(directory, "docker")}
    if token is not None:
        login = ["docker", "login", "--username", "iam", "--password-stdin", image.split("/")[0]]
        subprocess.run(login, input=token.encode(), env=environment, check=True)
    if subprocess.run(["docker", "pull", "--quiet", image], env=environment).returncode != 0:
        # What is on this machine already will do while the registry is away.
        subprocess.run(["docker", "image", "inspect", image], stdout=subprocess.DEVNULL, check=True)


def main(path):
    with open(path, encoding="utf-8") as file:
        wanted = json.load(file)
    directory, owner, secrets = wanted["directory"], wanted["owner"], wanted["secrets"]
    os.makedirs(directory, exist_ok=True)
    if wanted["data"] is not None:
        # Otherwise data would go to the boot disk, and be gone with it.
        if not os.path.ismount(wanted["data"]):
            raise SystemExit(f"{wanted['data']} is not mounted: see cloud-init status, and lsblk")
        os.chown(wanted["data"], owner, owner)
    token = read_token() if secrets or wanted["login"] else None
    for name, secret in secrets.items():
        value = read_secret(token, secret["secret_id"], secret["key"])
        write(os.path.join(directory, name), value, owner, 0o400)
    if wanted["ca_url"] is not None:
        write(os.path.join(directory, "ca.pem"), fetch(wanted["ca_url"]), owner, 0o444)
    pull(wanted["image"], token if wanted["login"] else None, directory)


if __name__ == "__main__":
    main(sys.argv[1])
