output "brokers" {
  description = "Addresses for clients."
  value       = [for zone in local.zones : "${local.fqdns[zone]}:9092"]
}
