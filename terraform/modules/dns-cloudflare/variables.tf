variable "zone_id" {
  description = "Zone of the records."
  type        = string
}

variable "records" {
  description = "Records, by a name of your own; their names end with a dot."
  type        = map(object({ name = string, type = string, value = string }))
}
