variable "name" {
  description = "Name of the group, and prefix of its machines'."
  type        = string
}

variable "folder_id" {
  description = "Folder of the group."
  type        = string
}

variable "service_account_id" {
  description = "Account that makes and removes machines."
  type        = string
}

variable "machine_account_id" {
  description = "Account of the machines themselves."
  type        = string
}

variable "network_id" {
  description = "Network of the machines."
  type        = string
}

variable "subnet_ids" {
  description = "Subnet of each zone to use."
  type        = map(string)
}

variable "security_group_id" {
  description = "Security group of the machines."
  type        = string
}

variable "host_image_id" {
  description = "Image of the boot disk, with Docker."
  type        = string
}

variable "user_data" {
  description = "cloud-init of the machines."
  type        = string
}

variable "machine" {
  description = "Cores, memory in GB and boot disk in GB of a machine."
  type        = object({ cores = number, memory = number, disk = optional(number, 20) })
}

variable "port" {
  description = "Port that the health check asks."
  type        = number
}

variable "auto_scale" {
  description = "Fewest and most machines, and the CPU use to aim at. Such a group is behind a balancer."
  type        = object({ min = number, max = number, cpu_percent = number })
  default     = null

  validation {
    condition     = (var.auto_scale == null) != (var.fixed_size == null)
    error_message = "Give either auto_scale or fixed_size."
  }
}

variable "fixed_size" {
  description = "Number of machines of a group that does not scale by itself."
  type        = number
  default     = null
}

variable "deletion_protection" {
  description = "Whether the group is kept from being deleted."
  type        = bool
}
