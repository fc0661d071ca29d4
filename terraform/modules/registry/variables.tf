variable "name" {
  description = "Name of the registry."
  type        = string
}

variable "puller_ids" {
  description = "Service accounts that may pull images, and nobody else."
  type        = list(string)
}
