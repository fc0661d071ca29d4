variable "cloudflare_zone_id" {
  description = "Zone at Cloudflare that the domain is in."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.cloudflare_zone_id))
    error_message = "Give the zone's id, 32 hexadecimal digits, as the zone's overview page shows it."
  }
}

# The others are checked by the stack itself.
variable "domain" {
  description = "Host name that clients post to."
  type        = string
}

variable "admin_cidrs" {
  description = "Addresses of administrators."
  type        = list(string)
}

variable "ssh_public_key" {
  description = "Public key of user `admin`."
  type        = string
}

variable "host_image_id" {
  description = "Boot image with Docker."
  type        = string
}

variable "image_tag" {
  description = "Tag of Millrace's image."
  type        = string
}

variable "releases" {
  description = "Tag and share of the requests of each colour of collectors: .ci/deploy.sh writes it."
  type        = map(object({ image_tag = string, weight = number }))
  default     = null
}

variable "deletion_protection" {
  description = "Whether data, secrets, addresses and groups are kept from being deleted."
  type        = bool
  default     = true
}

variable "clickhouse_password" {
  description = "Password of ClickHouse's user `millrace`, by TF_VAR_clickhouse_password."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "analyst_password" {
  description = "Password of ClickHouse's user `analyst`."
  type        = string
  sensitive   = true
  ephemeral   = true
}
