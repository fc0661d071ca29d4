output "service_account_id" {
  description = "Account to make an access key for: yc iam access-key create --service-account-id ID."
  value       = yandex_iam_service_account.state.id
}
