# Who acts: the instance groups' own hand, and an account for each kind of machine. Roles on the registry and on secrets are given by those modules.

locals {
  accounts = {
    groups     = "makes and removes the machines of instance groups"
    collector  = "pulls its image"
    streamer   = "pulls its image, reads the password of ClickHouse"
    monitoring = "finds the machines of the instance groups"
  }
  # On the folder, each the least that its documentation names.
  folder_roles = {
    "groups compute"    = { account = "groups", role = "compute.editor" }
    "groups balancer"   = { account = "groups", role = "alb.editor" }
    "groups network"    = { account = "groups", role = "vpc.user" }
    "monitoring groups" = { account = "monitoring", role = "compute.viewer" }
  }
}

resource "yandex_iam_service_account" "this" {
  for_each = local.accounts

  name        = "${var.name}-${each.key}"
  description = each.value
}

resource "yandex_resourcemanager_folder_iam_member" "this" {
  for_each = local.folder_roles

  folder_id = yandex_iam_service_account.this[each.value.account].folder_id
  role      = each.value.role
  member    = "serviceAccount:${yandex_iam_service_account.this[each.value.account].id}"
}

# To start machines that act as these two, and as no other.
resource "yandex_iam_service_account_iam_member" "groups_use" {
  for_each = toset(["collector", "streamer"])

  service_account_id = yandex_iam_service_account.this[each.key].id
  role               = "iam.serviceAccounts.user"
  member             = "serviceAccount:${yandex_iam_service_account.this["groups"].id}"
}
