# Planned only: a test could not destroy the disks.
mock_provider "yandex" {
  override_during = plan
}

variables {
  name              = "test-kafka"
  folder_id         = "b1g0123456789abcdefg"
  subnet_ids        = { ru-central1-a = "a", ru-central1-b = "b", ru-central1-d = "d" }
  security_group_id = "group"
  host_image_id     = "image"
  machine           = { cores = 2, memory = 8, disk = 100 }
  ssh_public_key    = "ssh-ed25519 AAAA test"
}

run "a_broker_in_each_zone" {
  command = plan

  assert {
    condition     = length(distinct([for broker in yandex_compute_instance.this : broker.zone])) == 3
    error_message = "The loss of a zone may take one broker only."
  }

  assert {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{20}[AQgw]$", local.cluster_id))
    error_message = "Kafka takes 16 bytes as base64url without padding for the id of a cluster, and none that begins with a dash."
  }

  assert {
    condition = alltrue([for broker in yandex_compute_instance.this : alltrue([
      for setting in ["KAFKA_MIN_INSYNC_REPLICAS=2", "KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE=false"] : strcontains(
        join("", [for file in yamldecode(broker.metadata.user-data).write_files : base64decode(file.content)]), setting,
      )
    ])])
    error_message = "What was acknowledged must survive the loss of a broker."
  }

  assert {
    condition     = length(split(",", local.voters)) == 3
    error_message = "Every broker votes."
  }
}

run "one_change_does_not_stop_all_brokers" {
  command = plan

  assert {
    condition     = !anytrue([for broker in yandex_compute_instance.this : broker.allow_stopping_for_update])
    error_message = "A change of the machine would stop three brokers at once."
  }
}

run "refuses_two_zones" {
  command = plan

  variables {
    subnet_ids = { ru-central1-a = "a", ru-central1-b = "b" }
  }

  expect_failures = [var.subnet_ids]
}

run "refuses_a_small_broker" {
  command = plan

  variables {
    machine = { cores = 2, memory = 2, disk = 100 }
  }

  expect_failures = [var.machine]
}
