output "url" {
  description = "Where clients post events."
  value       = "https://${var.domain}/v1/events"
}

output "dns_records" {
  description = "Records that the domain needs; they exist already when dns_zone_id is given."
  value       = module.balancer.records
}

output "image" {
  description = "What to push before the groups can start."
  value       = local.image
}

output "releases" {
  description = "Tag and share of the requests of each colour of collectors."
  value       = local.releases
}

output "kafka_brokers" {
  description = "Addresses of the brokers, within the network."
  value       = module.kafka.brokers
}

output "clickhouse" {
  description = "Address, database and users of ClickHouse, within the network."
  value = {
    url      = module.clickhouse.url
    database = module.clickhouse.database
    users    = module.clickhouse.users
  }
}

output "monitoring_address" {
  description = "Public address of the monitoring host: ssh admin@address."
  value       = module.monitoring.address
}
