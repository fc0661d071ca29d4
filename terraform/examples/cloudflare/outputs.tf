output "url" {
  description = "Where clients post events."
  value       = module.millrace.url
}
