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

variable "folder_id" {
  description = "Folder of the instance groups to scrape."
  type        = string
}

variable "group_prefix" {
  description = "What the names of the instance groups begin with. Then comes the role, and a dash and the colour for one of two: collector-blue."
  type        = string
}

variable "ports" {
  description = "Port of the metrics of each role."
  type        = map(number)
}

variable "ssh_public_key" {
  description = "Key of user `admin`."
  type        = string
}
