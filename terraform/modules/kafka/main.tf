# Three brokers of Apache Kafka (KRaft), one in each zone: each is controller and broker, on a machine with a data
# disk that outlives it. A record is acknowledged when two of three zones have it.

locals {
  zones   = sort(keys(var.subnet_ids))
  brokers = { for index, zone in local.zones : zone => { node_id = index + 1, host = "${var.name}-${index + 1}" } }
  # Known before the machines are there: names of this form are what Compute Cloud gives.
  fqdns      = { for zone, broker in local.brokers : zone => "${broker.host}.ru-central1.internal" }
  voters     = join(",", [for zone in local.zones : "${local.brokers[zone].node_id}@${local.fqdns[zone]}:9093"])
  digest     = replace(replace(base64sha256("${var.folder_id}/${var.name}"), "+", "-"), "/", "_")
  cluster_id = "k${substr(local.digest, 0, 20)}A" # 16 bytes as unpadded base64url: 22 characters, the last one A, Q, g or w
  heap       = "${floor(var.machine.memory * 1024 / 4)}m"
}

module "container" {
  source   = "../container"
  for_each = local.brokers

  name           = "kafka"
  image          = var.image
  registry_login = false
  owner          = 1000 # appuser of the official image
  # The image writes its configuration at start; the libraries for compressed batches are unpacked below /tmp, and run.
  tmpfs          = ["/tmp:exec", "/opt/kafka/config:uid=1000,gid=1000", "/opt/kafka/logs:uid=1000,gid=1000"]
  stop_seconds   = 120
  ssh_public_key = var.ssh_public_key
  data_disk      = { device_name = "kafka-data", path = "/var/lib/kafka" }

  environment = {
    CLUSTER_ID                                     = local.cluster_id
    KAFKA_HEAP_OPTS                                = "-Xms${local.heap} -Xmx${local.heap}"
    KAFKA_NODE_ID                                  = each.value.node_id
    KAFKA_PROCESS_ROLES                            = "broker,controller"
    KAFKA_BROKER_RACK                              = each.key
    KAFKA_CONTROLLER_QUORUM_VOTERS                 = local.voters
    KAFKA_CONTROLLER_LISTENER_NAMES                = "CONTROLLER"
    KAFKA_LISTENERS                                = "PLAINTEXT://:9092,CONTROLLER://:9093"
    KAFKA_ADVERTISED_LISTENERS                     = "PLAINTEXT://${local.fqdns[each.key]}:9092"
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP           = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
    KAFKA_LOG_DIRS                                 = "/var/lib/kafka/data"
    KAFKA_AUTO_CREATE_TOPICS_ENABLE                = "false"
    KAFKA_DEFAULT_REPLICATION_FACTOR               = "3"
    KAFKA_MIN_INSYNC_REPLICAS                      = "2"
    KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE           = "false"
    KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR         = "3"
    KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR = "3"
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR            = "2"
    # A plan of a streamer that was away for long must still be there.
    KAFKA_OFFSETS_RETENTION_MINUTES = "43200"
  }
}

resource "yandex_compute_disk" "data" {
  for_each = local.brokers

  name = "${each.value.host}-data"
  zone = each.key
  type = var.machine.disk_type
  size = var.machine.disk

  lifecycle {
    prevent_destroy = true
  }
}

resource "yandex_compute_instance" "this" {
  for_each = local.brokers

  name        = each.value.host
  hostname    = each.value.host
  zone        = each.key
  platform_id = "standard-v3"
  # One change would stop all three at once: README.md has how it is done one by one.
  allow_stopping_for_update = false

  resources {
    cores  = var.machine.cores
    memory = var.machine.memory
  }

  boot_disk {
    initialize_params {
      image_id = var.host_image_id
      type     = "network-ssd"
      size     = 20
    }
  }

  secondary_disk {
    disk_id     = yandex_compute_disk.data[each.key].id
    device_name = "kafka-data"
  }

  network_interface {
    subnet_id          = var.subnet_ids[each.key]
    security_group_ids = [var.security_group_id]
  }

  metadata = { user-data = module.container[each.key].user_data }

  metadata_options {
    gce_http_endpoint    = 1
    gce_http_token       = 2 # it acts as nobody
    aws_v1_http_endpoint = 1 # cloud-init reads here
    aws_v1_http_token    = 2
  }

  # A new image makes no new broker: replace them one at a time, by `terraform apply -replace`.
  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image_id]
  }
}
