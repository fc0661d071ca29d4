variable "name" {
  description = "Prefix of all names."
  type        = string
  default     = "millrace"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "Use 3 to 32 lower-case letters, digits and dashes, beginning with a letter, as millrace-test."
  }
}

variable "subnets" {
  description = "The three zones to use, and the addresses in each."
  type        = map(string)
  default = {
    ru-central1-a = "10.10.1.0/24"
    ru-central1-b = "10.10.2.0/24"
    ru-central1-d = "10.10.3.0/24"
  }

  validation {
    condition     = alltrue([for zone in keys(var.subnets) : contains(["ru-central1-a", "ru-central1-b", "ru-central1-d"], zone)])
    error_message = "Use the zones ru-central1-a, ru-central1-b and ru-central1-d; ru-central1-c takes no new machines."
  }

  validation {
    condition     = length(var.subnets) == 3
    error_message = "Name three zones: Kafka's controllers and ClickHouse's keepers are one in each, and two of three must be up."
  }

  validation {
    condition     = alltrue([for cidr in values(var.subnets) : can(cidrhost(cidr, 20))])
    error_message = "Each subnet needs an IPv4 range with room for 20 machines, as 10.10.1.0/24."
  }

  validation {
    condition     = length(distinct(values(var.subnets))) == length(var.subnets)
    error_message = "Two subnets have the same range: give each its own."
  }
}

variable "public_subnet" {
  description = "Addresses for the monitoring host, in the first of the zones."
  type        = string
  default     = "10.10.4.0/28"

  validation {
    condition     = can(cidrhost(var.public_subnet, 3)) && !contains(values(var.subnets), var.public_subnet)
    error_message = "Give an IPv4 range of its own, as 10.10.4.0/28, which is in none of the subnets."
  }
}

variable "domain" {
  description = "Host name that clients post to, as events.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "Give a full host name in lower case, without https:// and without a dot at the end, as events.example.com."
  }
}

variable "dns_zone_id" {
  description = "Zone of Yandex Cloud DNS that the domain is in. null: the records of output `dns_records` are made elsewhere, as in examples/cloudflare."
  type        = string

  validation {
    condition     = var.dns_zone_id == null || can(regex("^dns[a-z0-9]{17}$", var.dns_zone_id))
    error_message = "Give the zone's id, as dns0123456789abcdefg (`yc dns zone list`), not its name; or null."
  }
}

variable "admin_cidrs" {
  description = "Addresses from which administrators may reach the monitoring host by SSH."
  type        = list(string)

  validation {
    condition     = length(var.admin_cidrs) > 0 && alltrue([for cidr in var.admin_cidrs : can(cidrnetmask(cidr))])
    error_message = "Give at least one IPv4 range, as 203.0.113.7/32 for one address."
  }

  validation {
    condition     = !anytrue([for cidr in var.admin_cidrs : endswith(cidr, "/0")])
    error_message = "A range that ends with /0 opens SSH to everyone: give the addresses of your office or VPN."
  }
}

variable "ssh_public_key" {
  description = "Public key of user `admin` on every machine."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256) [A-Za-z0-9+/=]+", var.ssh_public_key))
    error_message = "Give the text of a public key, as in ~/.ssh/id_ed25519.pub, not its path."
  }
}

variable "host_image_id" {
  description = "Boot image with Docker: `yc compute image get-latest-from-family container-optimized-image --folder-id standard-images`. An id, so that machines that start later are the same."
  type        = string

  validation {
    condition     = can(regex("^fd8[a-z0-9]{17}$", var.host_image_id))
    error_message = "Give the id of an image, as fd80123456789abcdefg, not the name of a family."
  }
}

variable "image_tag" {
  description = "Tag of Millrace's image in the registry that is made here."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]*$", var.image_tag)) && var.image_tag != "latest"
    error_message = "Give the tag of one version, as 0.1.0. With latest, machines that start later would run something else."
  }
}

variable "releases" {
  description = "Tag and share of the requests, of 100, of the collectors' two colours: .ci/deploy.sh writes it. null: one colour, with image_tag."
  type        = map(object({ image_tag = string, weight = number }))
  default     = null

  validation {
    condition     = var.releases == null || alltrue([for colour in keys(coalesce(var.releases, {})) : contains(["blue", "green"], colour)])
    error_message = "The colours are blue and green."
  }

  validation {
    condition     = var.releases == null || sum(concat([0], [for release in values(coalesce(var.releases, {})) : release.weight])) == 100
    error_message = "The weights must be 100 together, as 90 and 10."
  }
}

variable "clickhouse_password" {
  description = "Password of ClickHouse's user `millrace`. Only as variable TF_VAR_clickhouse_password of the environment."
  type        = string
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = length(var.clickhouse_password) >= 16 && length(var.clickhouse_password) <= 128
    error_message = "The password needs 16 to 128 characters: export TF_VAR_clickhouse_password=\"$(openssl rand -base64 30)\"."
  }
}

variable "analyst_password" {
  description = "Password of ClickHouse's user `analyst`, who reads only."
  type        = string
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = length(var.analyst_password) >= 16 && length(var.analyst_password) <= 128
    error_message = "The password needs 16 to 128 characters: export TF_VAR_analyst_password=\"$(openssl rand -base64 30)\"."
  }

  validation {
    condition     = var.analyst_password != var.clickhouse_password
    error_message = "The analyst's password must not be the one that may write: make another."
  }
}

variable "passwords_version" {
  description = "Raise it by one when a password changes: without that, a new one is not noticed."
  type        = number
  default     = 1

  validation {
    condition     = var.passwords_version >= 1 && floor(var.passwords_version) == var.passwords_version
    error_message = "Give a whole number from 1 on."
  }
}

variable "collectors" {
  description = "Fewest and most collectors, the CPU use to aim at, and cores and memory in GB of each."
  type = object({
    min         = optional(number, 3)
    max         = optional(number, 6)
    cpu_percent = optional(number, 60)
    machine     = optional(object({ cores = number, memory = number }), { cores = 2, memory = 4 })
  })
  default = {}

  validation {
    condition     = var.collectors.min >= 3 && var.collectors.min % 3 == 0
    error_message = "Begin with 3, 6, 9 ... collectors: the same number in each of three zones."
  }

  validation {
    condition     = var.collectors.max >= var.collectors.min
    error_message = "The most collectors are fewer than the fewest: raise max, or lower min."
  }

  validation {
    condition     = var.collectors.cpu_percent >= 20 && var.collectors.cpu_percent <= 80
    error_message = "Aim at 20 to 80 percent: above, there is no room for what comes until new machines are up."
  }

  validation {
    condition     = contains([2, 4, 6, 8, 10, 12, 14, 16], var.collectors.machine.cores) && var.collectors.machine.memory >= var.collectors.machine.cores
    error_message = "Give each collector 2, 4, 6 ... 16 cores, and at least 1 GB of memory for each."
  }
}

variable "streamers" {
  description = "Number of streamers, and cores and memory in GB of each."
  type = object({
    count   = optional(number, 2)
    machine = optional(object({ cores = number, memory = number }), { cores = 2, memory = 4 })
  })
  default = {}

  validation {
    condition     = var.streamers.count >= 2
    error_message = "Two streamers at least: the other takes over within seconds when one is lost."
  }

  validation {
    condition     = var.streamers.count <= var.kafka.partitions
    error_message = "A streamer without a partition has nothing to do: lower streamers.count, or raise kafka.partitions."
  }
}

variable "kafka" {
  description = "Partitions and retention of the topic; cores, memory in GB, and size in GB and type of the data disk of each of three brokers."
  type = object({
    partitions     = optional(number, 12)
    retention_days = optional(number, 7)
    machine = optional(
      object({ cores = number, memory = number, disk = number, disk_type = optional(string, "network-ssd") }),
      { cores = 2, memory = 8, disk = 200 },
    )
  })
  default = {}

  validation {
    condition     = var.kafka.partitions >= 1 && var.kafka.partitions <= 1000
    error_message = "Give 1 to 1000 partitions."
  }

  validation {
    condition     = var.kafka.retention_days >= 1
    error_message = "Keep events for a day at least: what ClickHouse does not have by then is lost."
  }

  validation {
    condition     = contains(["network-ssd", "network-ssd-nonreplicated", "network-ssd-io-m3"], var.kafka.machine.disk_type)
    error_message = "Use network-ssd, network-ssd-nonreplicated or network-ssd-io-m3: a hard disk cannot keep up with flushes."
  }
}

variable "clickhouse" {
  description = "Version, days to keep backups, whether DataLens may connect, and host class (`yc managed-clickhouse resource-preset list`), size in GB and type of the disk of each of three replicas."
  type = object({
    version     = optional(string, "26.3")
    backup_days = optional(number, 14)
    data_lens   = optional(bool, false)
    machine = optional(
      object({ preset = string, disk = number, disk_type = optional(string, "network-ssd") }),
      { preset = "s3-c2-m8", disk = 100 },
    )
  })
  default = {}

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+$", var.clickhouse.version)) && try(tonumber(split(".", var.clickhouse.version)[0]) * 100 + tonumber(split(".", var.clickhouse.version)[1]) >= 2602, false)
    error_message = "Millrace needs ClickHouse 26.2 or later, as its inserts name a setting of it: see `yc managed-clickhouse version list`."
  }

  validation {
    condition     = var.clickhouse.machine.disk >= 10
    error_message = "Give each replica a disk of 10 GB at least."
  }
}

variable "monitoring" {
  description = "Cores, memory in GB and disk in GB of the monitoring host."
  type        = object({ cores = number, memory = number, disk = number })
  default     = { cores = 2, memory = 4, disk = 50 }

  validation {
    condition     = var.monitoring.memory >= 2 && var.monitoring.disk >= 30
    error_message = "Prometheus and Grafana need 2 GB of memory and 30 GB of disk at least."
  }
}

variable "deletion_protection" {
  description = "Whether data, secrets, addresses and groups are kept from being deleted. Turn it off, and apply, before a destroy."
  type        = bool
  default     = true
}
