output "url" {
  description = "HTTPS interface, at a name that always stands for a replica that is up."
  value       = "https://c-${yandex_mdb_clickhouse_cluster_v2.this.id}.rw.mdb.yandexcloud.net:8443"
}

output "database" {
  description = "Database of the events."
  value       = yandex_mdb_clickhouse_database.this.name
}

output "users" {
  description = "Names of the users, once they are there."
  value = {
    writer  = yandex_mdb_clickhouse_user.writer.name
    analyst = yandex_mdb_clickhouse_user.analyst.name
  }
}
