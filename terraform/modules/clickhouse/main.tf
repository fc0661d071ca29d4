# Managed ClickHouse: a replica in each zone, each with a keeper; a user who writes, and one who reads within limits.

resource "yandex_mdb_clickhouse_cluster_v2" "this" {
  name                      = var.name
  environment               = "PRODUCTION"
  version                   = var.clickhouse_version
  network_id                = var.network_id
  security_group_ids        = [var.security_group_id]
  embedded_keeper           = true
  copy_schema_on_new_hosts  = true
  backup_retain_period_days = var.backup_days
  deletion_protection       = var.deletion_protection

  clickhouse = {
    resources = {
      resource_preset_id = var.machine.preset
      disk_type_id       = var.machine.disk_type
      disk_size          = var.machine.disk
    }
    disk_size_autoscaling = {
      planned_usage_threshold   = 80
      emergency_usage_threshold = 90
      disk_size_limit           = var.machine.disk * 4
    }
  }

  shards = { shard1 = {} }

  hosts = { for zone, subnet_id in var.subnet_ids : zone => {
    type       = "CLICKHOUSE"
    zone       = zone
    subnet_id  = subnet_id
    shard_name = "shard1"
  } }

  backup_window_start = {
    hours   = 1
    minutes = 0
  }

  maintenance_window {
    type = "WEEKLY"
    day  = "SUN"
    hour = 3
  }

  access = { data_lens = var.data_lens }

  cloud_storage = { enabled = false }
}

resource "yandex_mdb_clickhouse_database" "this" {
  cluster_id = yandex_mdb_clickhouse_cluster_v2.this.id
  name       = var.database
}

resource "yandex_mdb_clickhouse_user" "writer" {
  cluster_id          = yandex_mdb_clickhouse_cluster_v2.this.id
  name                = "millrace"
  password_wo         = var.writer_password
  password_wo_version = var.passwords_version

  permission {
    database_name = yandex_mdb_clickhouse_database.this.name
  }
}

resource "yandex_mdb_clickhouse_user" "analyst" {
  cluster_id          = yandex_mdb_clickhouse_cluster_v2.this.id
  name                = "analyst"
  password_wo         = var.analyst_password
  password_wo_version = var.passwords_version

  permission {
    database_name = yandex_mdb_clickhouse_database.this.name
  }

  # 2: reads only, but may choose settings of a query, as Grafana's data source does. The quota below it cannot choose.
  settings {
    readonly           = 2
    allow_ddl          = false
    max_execution_time = 60000
    max_memory_usage   = 4294967296
  }

  quota {
    interval_duration = 3600000
    queries           = 5000
    errors            = 500
    execution_time    = 3600000
  }
}
