# Where the image is pushed to, and who may pull it.

resource "yandex_container_registry" "this" {
  name = var.name
}

resource "yandex_container_registry_iam_binding" "puller" {
  registry_id = yandex_container_registry.this.id
  role        = "container-registry.images.puller"
  members     = [for id in var.puller_ids : "serviceAccount:${id}"]
}
