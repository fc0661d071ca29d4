variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "folder_id" {
  description = "Folder on which the roles are given."
  type        = string
}
