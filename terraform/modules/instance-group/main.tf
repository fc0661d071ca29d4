# Equal machines in several zones, replaced one by one when their template changes and when they hang.

locals {
  is_balanced = var.auto_scale != null
  zones       = keys(var.subnet_ids)
}

resource "yandex_compute_instance_group" "this" {
  name                         = var.name
  folder_id                    = var.folder_id
  service_account_id           = var.service_account_id
  deletion_protection          = var.deletion_protection
  max_checking_health_duration = 600

  instance_template {
    name               = "${var.name}-{instance.index}"
    hostname           = "${var.name}-{instance.index}"
    platform_id        = "standard-v3"
    service_account_id = var.machine_account_id

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
      network_id         = var.network_id
      subnet_ids         = values(var.subnet_ids)
      security_group_ids = [var.security_group_id]
      nat                = false
    }

    metadata = { user-data = var.user_data }

    # cloud-init reads what is here in Amazon's flavour. Tokens are given in the one with a header only, which a
    # forwarded request does not have.
    metadata_options {
      gce_http_endpoint    = 1
      gce_http_token       = 1
      aws_v1_http_endpoint = 1
      aws_v1_http_token    = 2
    }
  }

  allocation_policy {
    zones = local.zones
  }

  scale_policy {
    dynamic "auto_scale" {
      for_each = var.auto_scale[*]

      content {
        initial_size           = auto_scale.value.min
        min_zone_size          = floor(auto_scale.value.min / length(local.zones))
        max_size               = auto_scale.value.max
        cpu_utilization_target = auto_scale.value.cpu_percent
        measurement_duration   = 60
        warmup_duration        = 60
        stabilization_duration = 300
      }
    }

    dynamic "fixed_scale" {
      for_each = var.fixed_size[*]

      content {
        size = fixed_scale.value
      }
    }
  }

  # A new machine is healthy before an old one goes.
  deploy_policy {
    max_unavailable  = 0
    max_expansion    = 1
    startup_duration = 30
  }

  # Liveness: who fails this is made anew. Readiness is off while Kafka is away, and new machines would not help then:
  # it is for the balancer, whose word a rollout waits for as well.
  health_check {
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 6

    http_options {
      port = var.port
      path = "/livez"
    }
  }

  dynamic "application_load_balancer" {
    for_each = local.is_balanced ? [1] : []

    content {
      target_group_name            = var.name
      max_opening_traffic_duration = 300
    }
  }

  # One machine after another.
  timeouts {
    create = "60m"
    update = "60m"
  }
}
