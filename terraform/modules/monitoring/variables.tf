variable "name" {
  description = "Name of the host."
  type        = string
}

variable "zone" {
  description = "Zone of the host."
  type        = string
}

variable "subnet_id" {
  description = "Subnet of the host, in its zone."
  type        = string
}

variable "security_group_id" {
  description = "Security group of the host."
  type        = string
}

variable "machine_account_id" {
  description = "Account that may list instance groups."
  type        = string
}

variable "host_image_id" {
  description = "Image of the boot disk, with Docker."
  type        = string
}

variable "machine" {
  description = "Cores, memory in GB and disk in GB."
  type        = object({ cores = number, memory = number, disk = number })
}

variable "groups" {
  description = "Instance groups to scrape, by the name of the file for Prometheus: their id, the port of their metrics, and labels."
  type        = map(object({ id = string, port = number, labels = optional(map(string), {}) }))
}

variable "ssh_public_key" {
  description = "Key of user `admin`."
  type        = string
}
