# User data (cloud-init) for a machine that runs one container as a systemd unit. It makes no resources. Secrets are
# not in it: the machine fetches them from Lockbox when the container starts, and keeps them in memory.

locals {
  directory = "/run/${var.name}"
  mounts = concat(
    [for name in keys(var.secrets) : "${local.directory}/${name}:${local.directory}/${name}:ro"],
    var.ca_url == null ? [] : ["${local.directory}/ca.pem:${local.directory}/ca.pem:ro"],
    var.data_disk == null ? [] : ["${var.data_disk.path}:${var.data_disk.path}"],
  )
  environment = merge(
    var.environment,
    { for name in keys(var.secrets) : "${name}_FILE" => "${local.directory}/${name}" },
    var.ca_url == null ? {} : { NODE_EXTRA_CA_CERTS = "${local.directory}/ca.pem" },
  )
  docker_arguments = concat(
    [
      "--rm", "--name", var.name, "--network", "host", "--log-driver", "journald", "--no-healthcheck", "--env-file", "/etc/container/environment",
      "--user", "${var.owner}:${var.owner}", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
      "--pids-limit", "4096", "--ulimit", "nofile=65536:65536",
    ],
    flatten([for place in var.tmpfs : ["--tmpfs", place]]),
    flatten([for mount in local.mounts : ["--volume", mount]]),
  )
  device    = try("/dev/disk/by-id/virtio-${var.data_disk.device_name}", null)
  data_path = try(var.data_disk.path, null)

  files = {
    "/etc/container/environment" = join("", [for name, value in local.environment : "${name}=${value}\n"])
    "/etc/container/prepare.json" = jsonencode({
      directory = local.directory
      image     = var.image
      login     = var.registry_login
      secrets   = var.secrets
      ca_url    = var.ca_url
      owner     = var.owner
      data      = local.data_path
    })
    "/etc/container/prepare.py" = file("${path.module}/files/prepare.py")
    "/etc/systemd/system/${var.name}.service" = templatefile("${path.module}/files/unit.tftpl", {
      name             = var.name
      docker_arguments = join(" ", local.docker_arguments)
      image            = var.image
      arguments        = join(" ", var.arguments)
      stop_seconds     = var.stop_seconds
    })
  }

  cloud_config = merge(
    {
      # Encoded, since an instance group takes {words} in braces for variables of its own:
      # https://yandex.cloud/en/docs/compute/concepts/instance-groups/variables-in-the-template
      write_files = [for path, content in local.files :
        { path = path, encoding = "b64", content = base64encode(content), permissions = "0644" }
      ]
      runcmd = [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "${var.name}.service"]]
    },
    { for key, value in {
      users = [{
        name                = "admin"
        groups              = "docker"
        sudo                = "ALL=(ALL) NOPASSWD:ALL"
        shell               = "/bin/bash"
        ssh_authorized_keys = [var.ssh_public_key]
      }]
    } : key => value if var.ssh_public_key != null },
    # An existing file system is kept: a broker that is made anew finds its data.
    { for key, value in {
      fs_setup = [{ device = local.device, filesystem = "ext4", overwrite = false }]
      mounts   = [[local.device, local.data_path, "ext4", "defaults,noatime,nofail", "0", "2"]]
    } : key => value if var.data_disk != null },
  )
}
