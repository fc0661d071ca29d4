variable "name" {
  description = "Name of the container and of its unit."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.name))
    error_message = "The name becomes a unit and a directory: use lower-case letters, digits and dashes."
  }
}

variable "image" {
  description = "Image with its tag or digest."
  type        = string

  validation {
    condition     = can(regex("(:[^/:]+|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "Give the image a tag other than latest, or a digest: machines that start later must run the same."
  }
}

variable "arguments" {
  description = "Arguments of the container's program."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for argument in var.arguments : can(regex("^[A-Za-z0-9_./:=,@-]+$", argument))])
    error_message = "Arguments go into a unit of systemd: leave out spaces, quotes, % and $, or use the environment."
  }
}

variable "environment" {
  description = "Variables of the container that are no secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for value in values(var.environment) : !strcontains(value, "\n")])
    error_message = "A variable has one line: values with line breaks cannot be passed by an environment file."
  }

  validation {
    condition     = !anytrue([for name in keys(var.environment) : endswith(name, "PASSWORD")])
    error_message = "User data can be read by whoever may see the machine: put passwords into `secrets`."
  }
}

variable "secrets" {
  description = "Secrets in Lockbox, by the variable that is to have them: it gets `_FILE` and a path."
  type        = map(object({ secret_id = string, key = string, version = number }))
  default     = {}
}

variable "ca_url" {
  description = "Certificates that Node.js is to trust as well, fetched when the container starts."
  type        = string
  default     = null

  validation {
    condition     = var.ca_url == null || startswith(coalesce(var.ca_url, "-"), "https://")
    error_message = "Certificates to trust must come over https://."
  }
}

variable "registry_login" {
  description = "Whether the machine's own account has to log in to the registry of the cloud."
  type        = bool
  default     = true
}

variable "tmpfs" {
  description = "Directories in memory, as /tmp or /tmp:exec. All others but the data disk are read-only."
  type        = list(string)
  default     = ["/tmp"]

  validation {
    condition     = alltrue([for place in var.tmpfs : can(regex("^/[a-z/]+(:[a-z0-9=,]+)?$", place))])
    error_message = "A directory in memory is a path, and after a colon the options of its mount, as /tmp:exec."
  }
}

variable "owner" {
  description = "User id inside the container, which gets the secrets and the data directory."
  type        = number
  default     = 65532
}

variable "stop_seconds" {
  description = "How long the container may take to stop."
  type        = number
  default     = 30
}

variable "data_disk" {
  description = "Disk to mount for the container: the device name that it is attached by, and the path."
  type        = object({ device_name = string, path = string })
  default     = null
}

variable "ssh_public_key" {
  description = "Key of user `admin`. Without it nobody can log in."
  type        = string
  default     = null
}
