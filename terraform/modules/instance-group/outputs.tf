output "target_group_id" {
  description = "Its machines, for a balancer; null when there is none."
  value       = one(yandex_compute_instance_group.this.application_load_balancer[*].target_group_id)
}
