output "network_id" {
  description = "The network."
  value       = yandex_vpc_network.this.id
}

output "subnet_ids" {
  description = "The subnet of each zone."
  value       = { for zone, subnet in yandex_vpc_subnet.this : zone => subnet.id }
}

output "public_subnet_id" {
  description = "The subnet for machines with public addresses."
  value       = yandex_vpc_subnet.public.id
}

output "security_group_ids" {
  description = "Security groups: balancer, collector, kafka, clickhouse, streamer, monitoring."
  value       = { for name, group in yandex_vpc_security_group.this : name => group.id }
}
