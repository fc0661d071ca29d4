output "names" {
  description = "Names of the records."
  value       = { for key, record in var.records : key => trimsuffix(record.name, ".") }
}
