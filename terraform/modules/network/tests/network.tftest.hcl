mock_provider "yandex" {}

variables {
  name          = "test"
  subnets       = { ru-central1-a = "10.10.1.0/24", ru-central1-b = "10.10.2.0/24", ru-central1-d = "10.10.3.0/24" }
  public_subnet = "10.10.4.0/28"
  admin_cidrs   = ["203.0.113.7/32"]
}

run "nothing_but_the_balancer_is_open_to_the_world" {
  assert {
    condition = alltrue([
      for key, rule in yandex_vpc_security_group_rule.this : startswith(key, "balancer ")
      if rule.direction == "ingress" && contains(coalesce(rule.v4_cidr_blocks, []), "0.0.0.0/0")
    ])
    error_message = "Only the balancer takes connections from everywhere."
  }

  assert {
    condition     = length(yandex_vpc_subnet.this) == 3 && alltrue([for subnet in yandex_vpc_subnet.this : subnet.route_table_id == yandex_vpc_route_table.nat.id])
    error_message = "Each zone has a subnet whose way out is the NAT gateway."
  }
}

run "a_public_address_can_be_reached" {
  assert {
    condition     = yandex_vpc_subnet.public.route_table_id == null
    error_message = "Answers of a machine with a public address must not go through the NAT gateway."
  }
}

run "only_streamers_and_monitoring_reach_clickhouse" {
  assert {
    condition     = !contains(keys(yandex_vpc_security_group_rule.this), "clickhouse from collector 8443")
    error_message = "Collectors take requests of anyone: they have no way to the data."
  }
}

run "refuses_a_range_that_is_none" {
  command = plan

  variables {
    subnets = { ru-central1-a = "10.10.1" }
  }

  expect_failures = [var.subnets]
}
