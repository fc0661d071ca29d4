mock_provider "yandex" {}

variables {
  name                = "test"
  folder_id           = "folder"
  service_account_id  = "groups"
  machine_account_id  = "machine"
  network_id          = "network"
  subnet_ids          = { ru-central1-a = "a", ru-central1-b = "b", ru-central1-d = "d" }
  security_group_id   = "group"
  host_image_id       = "image"
  user_data           = "#cloud-config"
  machine             = { cores = 2, memory = 4 }
  port                = 8080
  deletion_protection = true
}

run "scales_by_itself" {
  variables {
    auto_scale = { min = 3, max = 6, cpu_percent = 60 }
  }

  assert {
    condition = (
      yandex_compute_instance_group.this.scale_policy[0].auto_scale[0].min_zone_size == 1
      && yandex_compute_instance_group.this.scale_policy[0].auto_scale[0].max_size == 6
    )
    error_message = "At least one machine in each zone, and six in all at most."
  }

  assert {
    condition     = yandex_compute_instance_group.this.deploy_policy[0].max_unavailable == 0
    error_message = "A rollout must not take a machine away before its successor works."
  }

  assert {
    condition     = length(yandex_compute_instance_group.this.application_load_balancer) == 1
    error_message = "The balancer needs its machines."
  }

  assert {
    condition     = yandex_compute_instance_group.this.health_check[0].http_options[0].path == "/livez"
    error_message = "With /readyz, an outage of Kafka would make every machine anew."
  }
}

run "has_a_fixed_size" {
  variables {
    fixed_size = 2
  }

  assert {
    condition     = length(yandex_compute_instance_group.this.application_load_balancer) == 0 && output.target_group_id == null
    error_message = "Nobody sends requests to such a group."
  }
}

run "refuses_no_size" {
  command = plan

  expect_failures = [var.auto_scale]
}
