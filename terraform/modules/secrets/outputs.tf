output "secret_id" {
  description = "The secret, once it has a version."
  value       = yandex_lockbox_secret_version.this.secret_id
}
