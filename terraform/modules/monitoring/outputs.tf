output "address" {
  description = "Public IPv4 address, for administrators."
  value       = yandex_compute_instance.this.network_interface[0].nat_ip_address
}
