variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "network_id" {
  description = "Network of the cluster."
  type        = string
}

variable "subnet_ids" {
  description = "Subnet of each zone that gets a replica."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) >= 3
    error_message = "The keepers need at least three zones: with two, the loss of one stops all inserts."
  }
}

variable "security_group_id" {
  description = "Security group of the hosts."
  type        = string
}

variable "clickhouse_version" {
  description = "Version of ClickHouse."
  type        = string
}

variable "machine" {
  description = "Host class, and size in GB and type of the disk of each replica."
  type        = object({ preset = string, disk = number, disk_type = optional(string, "network-ssd") })
}

variable "database" {
  description = "Database of the events."
  type        = string
  default     = "millrace"
}

variable "writer_password" {
  description = "Password of user `millrace`."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "analyst_password" {
  description = "Password of user `analyst`."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "passwords_version" {
  description = "Raise it to set the passwords anew."
  type        = number
}

variable "backup_days" {
  description = "How long daily backups are kept."
  type        = number

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 60
    error_message = "Keep backups for 7 to 60 days."
  }
}

variable "data_lens" {
  description = "Whether DataLens may connect."
  type        = bool
}

variable "deletion_protection" {
  description = "Whether the cluster is kept from being deleted."
  type        = bool
}
