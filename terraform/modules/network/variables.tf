variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "subnets" {
  description = "Addresses of the subnet in each zone."
  type        = map(string)

  validation {
    condition     = alltrue([for cidr in values(var.subnets) : can(cidrnetmask(cidr))])
    error_message = "Each subnet needs an IPv4 range in CIDR notation, as 10.10.1.0/24."
  }
}

variable "public_subnet" {
  description = "Addresses of the subnet, in the first zone, for machines with public addresses."
  type        = string
}

variable "admin_cidrs" {
  description = "Addresses from which administrators reach the monitoring host by SSH."
  type        = list(string)
}
