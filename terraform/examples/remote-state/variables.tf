variable "bucket" {
  description = "Name of the bucket, unique in all of the cloud."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "Use 3 to 63 lower-case letters, digits and dashes, as example-com-millrace-state."
  }
}

variable "folder_id" {
  description = "Folder of the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{20}$", var.folder_id))
    error_message = "A folder's id has 20 letters and digits. See `yc resource-manager folder list`."
  }
}
