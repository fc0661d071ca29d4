# Millrace on Yandex Cloud, in three zones: balancer, collectors, Kafka, streamers, ClickHouse, and a host for
# monitoring. The account and the folder come from YC_TOKEN, YC_CLOUD_ID and YC_FOLDER_ID, or from the caller's provider.

locals {
  collector_port = 8080
  streamer_port  = 8081
  image          = "${module.registry.repository}:${var.image_tag}"
  releases       = var.releases != null ? var.releases : { blue = { image_tag = var.image_tag, weight = 100 } }
  secret_key     = "clickhouse-password"

  kafka_settings = {
    MILLRACE_BUFFER            = "kafka"
    MILLRACE_KAFKA_BROKERS     = join(",", module.kafka.brokers)
    MILLRACE_KAFKA_PARTITIONS  = var.kafka.partitions
    MILLRACE_KAFKA_REPLICATION = "3" # and so min.insync.replicas 2
    MILLRACE_KAFKA_RETENTION   = "${var.kafka.retention_days}d"
  }
}

module "network" {
  source = "./modules/network"

  name          = var.name
  subnets       = var.subnets
  public_subnet = var.public_subnet
  admin_cidrs   = var.admin_cidrs
}

module "service_accounts" {
  source = "./modules/service-accounts"

  name = var.name
}

module "registry" {
  source = "./modules/registry"

  name       = var.name
  puller_ids = [module.service_accounts.ids.collector, module.service_accounts.ids.streamer]
}

module "secrets" {
  source = "./modules/secrets"

  name                = var.name
  environment_names   = { (local.secret_key) = "TF_VAR_clickhouse_password" }
  secrets_version     = var.passwords_version
  reader_ids          = { streamer = module.service_accounts.ids.streamer }
  deletion_protection = var.deletion_protection
}

module "kafka" {
  source = "./modules/kafka"

  name              = "${var.name}-kafka"
  folder_id         = module.service_accounts.folder_id
  subnet_ids        = module.network.subnet_ids
  security_group_id = module.network.security_group_ids["kafka"]
  host_image_id     = var.host_image_id
  machine           = var.kafka.machine
  ssh_public_key    = var.ssh_public_key
}

module "clickhouse" {
  source = "./modules/clickhouse"

  name                = var.name
  network_id          = module.network.network_id
  subnet_ids          = module.network.subnet_ids
  security_group_id   = module.network.security_group_ids["clickhouse"]
  clickhouse_version  = var.clickhouse.version
  machine             = var.clickhouse.machine
  backup_days         = var.clickhouse.backup_days
  data_lens           = var.clickhouse.data_lens
  writer_password     = var.clickhouse_password
  analyst_password    = var.analyst_password
  passwords_version   = var.passwords_version
  deletion_protection = var.deletion_protection
}

module "collector" {
  source   = "./modules/container"
  for_each = local.releases

  name           = "millrace"
  image          = "${module.registry.repository}:${each.value.image_tag}"
  arguments      = ["collect"]
  ssh_public_key = var.ssh_public_key
  environment = merge(local.kafka_settings, {
    MILLRACE_LISTEN  = "0.0.0.0:${local.collector_port}"
    MILLRACE_WORKERS = var.collectors.machine.cores
    # The balancer takes up to 6 s to notice: two checks, 2 s apart, that may take 1 s each.
    MILLRACE_DRAIN_DELAY = "8s"
    # Receipts come through the balancer, which passes the name on. Monitoring asks by address.
    MILLRACE_STATUS_HOSTS = var.domain
  })
}

module "streamer" {
  source = "./modules/container"

  name           = "millrace"
  image          = local.image
  arguments      = ["stream"]
  ssh_public_key = var.ssh_public_key
  ca_url         = "https://storage.yandexcloud.net/cloud-certs/CA.pem"
  environment = merge(local.kafka_settings, {
    MILLRACE_STREAM_LISTEN       = "0.0.0.0:${local.streamer_port}"
    MILLRACE_CLICKHOUSE_URL      = module.clickhouse.url
    MILLRACE_CLICKHOUSE_DATABASE = module.clickhouse.database
    MILLRACE_CLICKHOUSE_USER     = module.clickhouse.users.writer
    MILLRACE_CLICKHOUSE_CLUSTER  = "{cluster}" # the macro that each host expands
  })
  secrets = {
    MILLRACE_CLICKHOUSE_PASSWORD = {
      secret_id = module.secrets.secret_id
      key       = local.secret_key
      version   = var.passwords_version # machines are replaced when it changes
    }
  }
}

module "collectors" {
  source   = "./modules/instance-group"
  for_each = local.releases

  name                = "${var.name}-collector-${each.key}"
  folder_id           = module.service_accounts.folder_id
  service_account_id  = module.service_accounts.ids.groups
  machine_account_id  = module.service_accounts.ids.collector
  network_id          = module.network.network_id
  subnet_ids          = module.network.subnet_ids
  security_group_id   = module.network.security_group_ids["collector"]
  host_image_id       = var.host_image_id
  user_data           = module.collector[each.key].user_data
  machine             = var.collectors.machine
  port                = local.collector_port
  auto_scale          = { min = var.collectors.min, max = var.collectors.max, cpu_percent = var.collectors.cpu_percent }
  deletion_protection = var.deletion_protection

  # Roles and the way out must be there before the first machine, and after the last one.
  depends_on = [module.service_accounts, module.network, module.registry]
}

module "streamers" {
  source = "./modules/instance-group"

  name                = "${var.name}-streamer"
  folder_id           = module.service_accounts.folder_id
  service_account_id  = module.service_accounts.ids.groups
  machine_account_id  = module.service_accounts.ids.streamer
  network_id          = module.network.network_id
  subnet_ids          = module.network.subnet_ids
  security_group_id   = module.network.security_group_ids["streamer"]
  host_image_id       = var.host_image_id
  user_data           = module.streamer.user_data
  machine             = var.streamers.machine
  port                = local.streamer_port
  fixed_size          = var.streamers.count
  deletion_protection = var.deletion_protection

  depends_on = [module.service_accounts, module.network, module.registry, module.secrets]
}

module "balancer" {
  source = "./modules/balancer"

  name                = var.name
  domain              = var.domain
  network_id          = module.network.network_id
  subnet_ids          = module.network.subnet_ids
  security_group_id   = module.network.security_group_ids["balancer"]
  target_groups       = { for colour, release in local.releases : colour => { id = module.collectors[colour].target_group_id, weight = release.weight } }
  port                = local.collector_port
  deletion_protection = var.deletion_protection
}

module "dns" {
  source = "./modules/dns"
  count  = var.dns_zone_id == null ? 0 : 1

  zone_id = var.dns_zone_id
  records = module.balancer.records
}

module "monitoring" {
  source = "./modules/monitoring"

  name               = "${var.name}-monitoring"
  zone               = keys(var.subnets)[0]
  subnet_id          = module.network.public_subnet_id
  security_group_id  = module.network.security_group_ids["monitoring"]
  machine_account_id = module.service_accounts.ids.monitoring
  host_image_id      = var.host_image_id
  machine            = var.monitoring
  ssh_public_key     = var.ssh_public_key
  folder_id          = module.service_accounts.folder_id
  group_prefix       = "${var.name}-"
  ports              = { collector = local.collector_port, streamer = local.streamer_port }
}
