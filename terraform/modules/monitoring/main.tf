# The host for Prometheus, Alertmanager and Grafana, and the way in for administrators: the only machine with a public
# address. It knows the machines of the instance groups at any time, as files for Prometheus' `file_sd_configs`.

locals {
  cloud_config = {
    users = [{
      name                = "admin"
      groups              = "docker"
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      shell               = "/bin/bash"
      ssh_authorized_keys = [var.ssh_public_key]
    }]
    write_files = [
      { path = "/etc/discover-targets/discover.py", content = file("${path.module}/files/discover.py") },
      {
        path    = "/etc/discover-targets/settings.json"
        content = jsonencode({ folder = var.folder_id, prefix = var.group_prefix, ports = var.ports })
      },
      { path = "/etc/systemd/system/discover-targets.service", content = file("${path.module}/files/discover-targets.service") },
      { path = "/etc/systemd/system/discover-targets.timer", content = file("${path.module}/files/discover-targets.timer") },
    ]
    runcmd = [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "discover-targets.timer"]]
  }
}

resource "yandex_compute_instance" "this" {
  name                      = var.name
  hostname                  = var.name
  zone                      = var.zone
  platform_id               = "standard-v3"
  service_account_id        = var.machine_account_id
  allow_stopping_for_update = true

  resources {
    cores  = var.machine.cores
    memory = var.machine.memory
  }

  boot_disk {
    initialize_params {
      image_id = var.host_image_id
      type     = "network-ssd"
      size     = var.machine.disk
    }
  }

  network_interface {
    subnet_id          = var.subnet_id
    security_group_ids = [var.security_group_id]
    nat                = true
  }

  metadata = { user-data = "#cloud-config\n${yamlencode(local.cloud_config)}" }

  metadata_options {
    gce_http_endpoint    = 1
    gce_http_token       = 1
    aws_v1_http_endpoint = 1 # cloud-init reads here
    aws_v1_http_token    = 2
  }

  # Its disk has the history of the metrics.
  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image_id, metadata]
  }
}
