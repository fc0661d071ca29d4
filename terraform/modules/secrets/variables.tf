variable "name" {
  description = "Name of the secret."
  type        = string
}

variable "environment_names" {
  description = "For each key of the secret, the variable of the environment that holds its value."
  type        = map(string)

  validation {
    condition     = alltrue([for name in values(var.environment_names) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "Give names of variables of the environment, as TF_VAR_clickhouse_password, not values."
  }
}

variable "secrets_version" {
  description = "Raise it to store the values anew."
  type        = number
}

variable "reader_ids" {
  description = "Service accounts that may read the secret, by a name of your own."
  type        = map(string)
}

variable "deletion_protection" {
  description = "Whether the secret is kept from being deleted."
  type        = bool
}
