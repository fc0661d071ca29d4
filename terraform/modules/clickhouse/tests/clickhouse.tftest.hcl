mock_provider "yandex" {}

variables {
  name                = "test"
  network_id          = "network"
  subnet_ids          = { ru-central1-a = "a", ru-central1-b = "b", ru-central1-d = "d" }
  security_group_id   = "group"
  clickhouse_version  = "26.3"
  machine             = { preset = "s3-c2-m8", disk = 100 }
  writer_password     = "only-for-this-test-0"
  analyst_password    = "only-for-this-test-1"
  passwords_version   = 1
  backup_days         = 14
  data_lens           = false
  deletion_protection = true
}

run "protected_and_replicated" {
  assert {
    condition     = yandex_mdb_clickhouse_cluster_v2.this.deletion_protection && length(yandex_mdb_clickhouse_cluster_v2.this.hosts) == 3
    error_message = "Three replicas, which nobody deletes by accident."
  }

  assert {
    condition     = yandex_mdb_clickhouse_user.writer.password == null && yandex_mdb_clickhouse_user.analyst.password == null
    error_message = "Passwords would be in the state."
  }

  assert {
    condition     = one(flatten([yandex_mdb_clickhouse_user.analyst.settings])).readonly == 2 && length(yandex_mdb_clickhouse_user.analyst.quota) == 1
    error_message = "Analysts read, and not without end."
  }
}

run "refuses_two_zones" {
  command = plan

  variables {
    subnet_ids = { ru-central1-a = "a", ru-central1-b = "b" }
  }

  expect_failures = [var.subnet_ids]
}

run "refuses_a_day_of_backups" {
  command = plan

  variables {
    backup_days = 1
  }

  expect_failures = [var.backup_days]
}
