output "repository" {
  description = "Where to push the image to, without its tag."
  value       = "cr.yandex/${yandex_container_registry.this.id}/millrace"
}
