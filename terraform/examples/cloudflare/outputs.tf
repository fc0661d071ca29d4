# Those of the stack: its documentation and .ci/deploy.sh use them.
output "url" {
  description = "Where clients post events."
  value       = module.millrace.url
}

output "image" {
  description = "What to push before the groups can start."
  value       = module.millrace.image
}

output "releases" {
  description = "Tag and share of the requests of each colour of collectors."
  value       = module.millrace.releases
}

output "kafka_brokers" {
  description = "Addresses of the brokers, within the network."
  value       = module.millrace.kafka_brokers
}

output "clickhouse" {
  description = "Address, database and users of ClickHouse, within the network."
  value       = module.millrace.clickhouse
}

output "monitoring_address" {
  description = "Public address of the monitoring host: ssh admin@address."
  value       = module.millrace.monitoring_address
}
