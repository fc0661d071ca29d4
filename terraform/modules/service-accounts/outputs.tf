output "ids" {
  description = "Accounts: groups, collector, streamer, monitoring."
  value       = { for name, account in yandex_iam_service_account.this : name => account.id }
}
