variable "name" {
  description = "Name of the balancer and its parts."
  type        = string
}

variable "domain" {
  description = "Host name that clients post to."
  type        = string
}

variable "network_id" {
  description = "Network of the balancer."
  type        = string
}

variable "subnet_ids" {
  description = "Subnet of each zone to be in."
  type        = map(string)
}

variable "security_group_id" {
  description = "Security group of the balancer."
  type        = string
}

variable "target_groups" {
  description = "Machines to send requests to, by colour, and the share of each."
  type        = map(object({ id = string, weight = number }))
}

variable "port" {
  description = "Port of the collectors."
  type        = number
}

variable "path_prefixes" {
  description = "Paths for clients; all others get 404."
  type        = list(string)
  default     = ["/v1/events", "/v1/receipts", "/post", "/readyz"]

  validation {
    condition     = alltrue([for prefix in var.path_prefixes : startswith(prefix, "/") && prefix != "/"])
    error_message = "Name the paths one by one, as /v1/events: with / the metrics would be public."
  }
}

variable "deletion_protection" {
  description = "Whether the address and the certificate are kept from being deleted."
  type        = bool
}
