# Secrets of the machines. Values come from the environment of the terraform process, straight into Lockbox: neither
# the plan nor the state has them. Machines read them at start with their own account.

resource "yandex_lockbox_secret" "this" {
  name                = var.name
  description         = "Read by the machines when their container starts."
  deletion_protection = var.deletion_protection
}

resource "yandex_lockbox_secret_version" "this" {
  secret_id = yandex_lockbox_secret.this.id

  dynamic "entries" {
    for_each = var.environment_names

    content {
      key = entries.key

      command {
        path = "sh"
        # Another version number makes another command, and so a new version of the secret.
        args = [
          "-c",
          "printf %s \"$${${entries.value}:?set it in the environment, so that it gets into no file and no state}\"",
          "version-${var.secrets_version}",
        ]
      }
    }
  }
}

resource "yandex_lockbox_secret_iam_member" "reader" {
  for_each = var.reader_ids

  secret_id = yandex_lockbox_secret.this.id
  role      = "lockbox.payloadViewer"
  member    = "serviceAccount:${each.value}"
}
