variable "bucket" {
  description = "Name of the bucket, unique in all of the cloud."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "Use 3 to 63 lower-case letters, digits and dashes, as example-com-millrace-state."
  }
}
