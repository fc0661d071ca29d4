# The whole, planned against the provider's schema; nothing is reached. Not applied: a test could not destroy the disks.

mock_provider "yandex" {
  override_during = plan

  mock_resource "yandex_cm_certificate" {
    defaults = {
      challenges = [{
        created_at = "", domain = "events.example.com", http_content = "", http_url = "", message = "", type = "DNS", updated_at = ""
        dns_name   = "_acme-challenge.events.example.com."
        dns_type   = "CNAME"
        dns_value  = "fpq0.cm.yandexcloud.net."
      }]
    }
  }
}

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

run "three_zones" {
  command = plan

  assert {
    condition     = length(output.kafka_brokers) == 3 && output.kafka_brokers[0] == "millrace-kafka-1.ru-central1.internal:9092"
    error_message = "Each zone has a broker at a name that is known beforehand."
  }

  assert {
    condition     = output.dns_records.certificate.type == "CNAME" && output.dns_records.balancer.name == "events.example.com."
    error_message = "The domain needs a record for the balancer and one for the certificate."
  }

  assert {
    condition     = length(module.dns) == 1
    error_message = "With a zone of Yandex Cloud DNS the records are made here."
  }

  assert {
    condition     = startswith(output.url, "https://events.example.com/")
    error_message = "Clients post by TLS only."
  }
}

run "dns_elsewhere" {
  command = plan

  variables {
    dns_zone_id = null
  }

  assert {
    condition     = length(module.dns) == 0 && length(output.dns_records) == 2
    error_message = "Without a zone the records are only said, not made."
  }
}
