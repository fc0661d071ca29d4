# A network of one private subnet for each zone, whose machines reach outside through a NAT gateway, a small one for the
# machine with a public address, and who may talk to whom.

locals {
  groups       = toset(["balancer", "collector", "kafka", "clickhouse", "streamer", "monitoring"])
  machines     = ["collector", "kafka", "streamer", "monitoring"]
  everywhere   = ["0.0.0.0/0"]
  subnet_cidrs = concat(values(var.subnets), [var.public_subnet])

  # One source each: another group, addresses, or a service of the cloud.
  ingress = concat(
    [
      { to = "balancer", ports = [443, 443], cidrs = local.everywhere, why = "clients" },
      { to = "balancer", ports = [80, 80], cidrs = local.everywhere, why = "redirect to https" },
      { to = "balancer", ports = [30080, 30080], service = "loadbalancer_healthchecks", why = "health of its nodes" },
      { to = "collector", ports = [8080, 8080], from = "balancer", why = "events" },
      { to = "collector", ports = [8080, 8080], service = "loadbalancer_healthchecks", why = "health of its group" },
      { to = "collector", ports = [8080, 8080], from = "monitoring", why = "metrics" },
      { to = "streamer", ports = [8081, 8081], service = "loadbalancer_healthchecks", why = "health of its group" },
      { to = "streamer", ports = [8081, 8081], from = "monitoring", why = "metrics" },
      { to = "kafka", ports = [9092, 9092], from = "collector", why = "append" },
      { to = "kafka", ports = [9092, 9092], from = "streamer", why = "read" },
      { to = "kafka", ports = [9092, 9092], from = "monitoring", why = "verify, tail" },
      { to = "kafka", ports = [9092, 9093], service = "self_security_group", why = "replicas and controllers" },
      { to = "clickhouse", ports = [8443, 8443], from = "streamer", why = "insert" },
      { to = "clickhouse", ports = [8443, 8443], from = "monitoring", why = "dashboards, verify" },
      { to = "clickhouse", ports = [1, 65535], service = "self_security_group", why = "replicas and keepers" },
      { to = "monitoring", ports = [22, 22], cidrs = var.admin_cidrs, why = "administrators" },
    ],
    [for group in local.machines : {
      to = group, ports = [22, 22], from = "monitoring", why = "administrators, by the monitoring host"
    } if group != "monitoring"],
  )
  egress = concat(
    [
      { of = "balancer", ports = [8080, 8080], cidrs = local.subnet_cidrs, why = "collectors" },
      { of = "clickhouse", ports = [1, 65535], service = "self_security_group", why = "replicas and keepers" },
      { of = "monitoring", ports = [80, 80], cidrs = local.everywhere, why = "packages of the distribution" },
      { of = "monitoring", ports = [587, 587], cidrs = local.everywhere, why = "mail of alerts" },
    ],
    flatten([for group in local.machines : [
      { of = group, ports = [443, 443], cidrs = local.everywhere, why = "images, secrets, updates" },
      { of = group, ports = [80, 80], cidrs = ["169.254.169.254/32"], why = "metadata" },
      { of = group, ports = [1, 65535], cidrs = local.subnet_cidrs, why = "this network" },
      { of = group, ports = [53, 53], protocol = "UDP", cidrs = local.subnet_cidrs, why = "names" },
      { of = group, ports = [123, 123], protocol = "UDP", cidrs = local.everywhere, why = "time" },
    ]]),
  )
  rules = merge(
    { for rule in local.ingress : "${rule.to} from ${try(rule.from, rule.service, "addresses")} ${rule.ports[0]}" =>
    merge(rule, { direction = "ingress", group = rule.to }) },
    { for rule in local.egress : "${rule.of} ${rule.why}" =>
    merge(rule, { direction = "egress", group = rule.of }) },
  )
}

resource "yandex_vpc_network" "this" {
  name = var.name
}

resource "yandex_vpc_gateway" "nat" {
  name = "${var.name}-nat"

  shared_egress_gateway {}
}

resource "yandex_vpc_route_table" "nat" {
  name       = "${var.name}-nat"
  network_id = yandex_vpc_network.this.id

  static_route {
    destination_prefix = "0.0.0.0/0"
    gateway_id         = yandex_vpc_gateway.nat.id
  }
}

resource "yandex_vpc_subnet" "this" {
  for_each = var.subnets

  name           = "${var.name}-${each.key}"
  network_id     = yandex_vpc_network.this.id
  zone           = each.key
  v4_cidr_blocks = [each.value]
  route_table_id = yandex_vpc_route_table.nat.id
}

# Without the route to the gateway, which can make a machine's public address unreachable: its answers would go that way.
# https://yandex.cloud/en/docs/vpc/concepts/static-routes
resource "yandex_vpc_subnet" "public" {
  name           = "${var.name}-public"
  network_id     = yandex_vpc_network.this.id
  zone           = keys(var.subnets)[0]
  v4_cidr_blocks = [var.public_subnet]
}

# Without rules of its own: rules refer to groups both ways, which only separate resources can.
resource "yandex_vpc_security_group" "this" {
  for_each = local.groups

  name       = "${var.name}-${each.key}"
  network_id = yandex_vpc_network.this.id
}

resource "yandex_vpc_security_group_rule" "this" {
  for_each = local.rules

  security_group_binding = yandex_vpc_security_group.this[each.value.group].id
  direction              = each.value.direction
  description            = each.value.why
  protocol               = try(each.value.protocol, "TCP")
  from_port              = each.value.ports[0]
  to_port                = each.value.ports[1]
  v4_cidr_blocks         = try(each.value.cidrs, null)
  predefined_target      = try(each.value.service, null)
  security_group_id      = try(yandex_vpc_security_group.this[each.value.from].id, null)
}
