# What is refused before anything is made, and by which variable.

mock_provider "yandex" {}

variables {
  domain              = "events.example.com"
  dns_zone_id         = "dns0123456789abcdefg"
  admin_cidrs         = ["203.0.113.7/32"]
  ssh_public_key      = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample admin"
  host_image_id       = "fd80123456789abcdefg"
  image_tag           = "0.1.0"
  clickhouse_password = "only-for-this-test-0"
  analyst_password    = "only-for-this-test-1"
}

run "refuses_a_name_with_capitals" {
  command = plan

  variables {
    name = "Millrace"
  }

  expect_failures = [var.name]
}

run "refuses_a_zone_that_is_gone" {
  command = plan

  variables {
    subnets = { ru-central1-a = "10.10.1.0/24", ru-central1-b = "10.10.2.0/24", ru-central1-c = "10.10.3.0/24" }
  }

  expect_failures = [var.subnets]
}

run "refuses_two_zones" {
  command = plan

  variables {
    subnets = { ru-central1-a = "10.10.1.0/24", ru-central1-b = "10.10.2.0/24" }
  }

  expect_failures = [var.subnets]
}

run "refuses_a_range_without_room" {
  command = plan

  variables {
    subnets = { ru-central1-a = "10.10.1.0/24", ru-central1-b = "10.10.2.0/24", ru-central1-d = "10.10.3.0/30" }
  }

  expect_failures = [var.subnets]
}

run "refuses_one_range_twice" {
  command = plan

  variables {
    subnets = { ru-central1-a = "10.10.1.0/24", ru-central1-b = "10.10.1.0/24", ru-central1-d = "10.10.3.0/24" }
  }

  expect_failures = [var.subnets]
}

run "refuses_a_public_subnet_that_is_a_private_one" {
  command = plan

  variables {
    public_subnet = "10.10.1.0/24"
  }

  expect_failures = [var.public_subnet]
}

run "refuses_a_url_as_domain" {
  command = plan

  variables {
    domain = "https://events.example.com"
  }

  expect_failures = [var.domain]
}

run "refuses_a_dns_zone_by_its_name" {
  command = plan

  variables {
    dns_zone_id = "example-com"
  }

  expect_failures = [var.dns_zone_id]
}

run "refuses_no_administrators" {
  command = plan

  variables {
    admin_cidrs = []
  }

  expect_failures = [var.admin_cidrs]
}

run "refuses_ssh_for_everyone" {
  command = plan

  variables {
    admin_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.admin_cidrs]
}

run "refuses_the_path_of_a_key" {
  command = plan

  variables {
    ssh_public_key = "~/.ssh/id_ed25519.pub"
  }

  expect_failures = [var.ssh_public_key]
}

run "refuses_an_image_family" {
  command = plan

  variables {
    host_image_id = "container-optimized-image"
  }

  expect_failures = [var.host_image_id]
}

run "refuses_the_tag_latest" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "refuses_a_short_password" {
  command = plan

  variables {
    clickhouse_password = "short"
  }

  expect_failures = [var.clickhouse_password]
}

run "refuses_a_short_analyst_password" {
  command = plan

  variables {
    analyst_password = "short"
  }

  expect_failures = [var.analyst_password]
}

run "refuses_one_password_for_both" {
  command = plan

  variables {
    analyst_password = "only-for-this-test-0"
  }

  expect_failures = [var.analyst_password]
}

run "refuses_half_a_version" {
  command = plan

  variables {
    passwords_version = 1.5
  }

  expect_failures = [var.passwords_version]
}

run "refuses_collectors_that_do_not_fill_the_zones" {
  command = plan

  variables {
    collectors = { min = 4 }
  }

  expect_failures = [var.collectors]
}

run "refuses_fewer_collectors_than_at_least" {
  command = plan

  variables {
    collectors = { min = 6, max = 3 }
  }

  expect_failures = [var.collectors]
}

run "refuses_a_full_cpu" {
  command = plan

  variables {
    collectors = { cpu_percent = 95 }
  }

  expect_failures = [var.collectors]
}

run "refuses_three_cores" {
  command = plan

  variables {
    collectors = { machine = { cores = 3, memory = 4 } }
  }

  expect_failures = [var.collectors]
}

run "refuses_a_single_streamer" {
  command = plan

  variables {
    streamers = { count = 1 }
  }

  expect_failures = [var.streamers]
}

run "refuses_streamers_without_a_partition" {
  command = plan

  variables {
    streamers = { count = 13 }
  }

  expect_failures = [var.streamers]
}

run "refuses_no_partitions" {
  command = plan

  variables {
    kafka = { partitions = 0 }
  }

  expect_failures = [var.kafka]
}

run "refuses_no_retention" {
  command = plan

  variables {
    kafka = { retention_days = 0 }
  }

  expect_failures = [var.kafka]
}

run "refuses_kafka_on_hard_disks" {
  command = plan

  variables {
    kafka = { machine = { cores = 2, memory = 8, disk = 200, disk_type = "network-hdd" } }
  }

  expect_failures = [var.kafka]
}

run "refuses_an_old_clickhouse" {
  command = plan

  variables {
    clickhouse = { version = "25.8" }
  }

  expect_failures = [var.clickhouse]
}

run "refuses_a_tiny_clickhouse_disk" {
  command = plan

  variables {
    clickhouse = { machine = { preset = "s3-c2-m8", disk = 5 } }
  }

  expect_failures = [var.clickhouse]
}

run "refuses_a_tiny_monitoring_host" {
  command = plan

  variables {
    monitoring = { cores = 2, memory = 1, disk = 10 }
  }

  expect_failures = [var.monitoring]
}
