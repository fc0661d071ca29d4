output "user_data" {
  description = "For the machine's metadata key `user-data`."
  value       = "#cloud-config\n${yamlencode(local.cloud_config)}"
}
