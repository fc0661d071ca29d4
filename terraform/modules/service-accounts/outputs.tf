output "ids" {
  description = "Accounts: groups, collector, streamer, monitoring."
  value       = { for name, account in yandex_iam_service_account.this : name => account.id }
}

output "folder_id" {
  description = "Folder that the provider made them in, and so everything else."
  value       = yandex_iam_service_account.this["groups"].folder_id
}
