variable "name" {
  description = "Prefix of the brokers' host names."
  type        = string
}

variable "folder_id" {
  description = "Folder of the brokers; part of the cluster's id."
  type        = string
}

variable "subnet_ids" {
  description = "Subnet of each of three zones."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "Three zones are needed: with fewer, the loss of one can stop the controllers' quorum."
  }
}

variable "security_group_id" {
  description = "Security group of the brokers."
  type        = string
}

variable "host_image_id" {
  description = "Image of the boot disk, with Docker."
  type        = string
}

variable "image" {
  description = "Apache Kafka's image with its tag."
  type        = string
  default     = "apache/kafka:4.1.0@sha256:bff074a5d0051dbc0bbbcd25b045bb1fe84833ec0d3c7c965d1797dd289ec88f"
}

variable "machine" {
  description = "Cores, memory in GB, and size in GB and type of the data disk of a broker."
  type        = object({ cores = number, memory = number, disk = number, disk_type = optional(string, "network-ssd") })

  validation {
    condition     = var.machine.memory >= 4
    error_message = "A broker needs at least 4 GB of memory: a quarter for the heap, the rest for the page cache."
  }
}

variable "ssh_public_key" {
  description = "Key of user `admin`."
  type        = string
}
