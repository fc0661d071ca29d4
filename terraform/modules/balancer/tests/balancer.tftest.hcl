mock_provider "yandex" {
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
  name                = "test"
  domain              = "events.example.com"
  network_id          = "network"
  subnet_ids          = { ru-central1-a = "a", ru-central1-b = "b", ru-central1-d = "d" }
  security_group_id   = "group"
  target_groups       = { blue = { id = "targets", weight = 100 } }
  port                = 8080
  deletion_protection = true
}

run "asks_for_readiness" {
  assert {
    condition     = yandex_alb_backend_group.this.http_backend[0].healthcheck[0].http_healthcheck[0].path == "/readyz"
    error_message = "A collector that cannot store, or that is stopping, gets no requests."
  }

  assert {
    condition     = length(yandex_alb_load_balancer.this.allocation_policy[0].location) == 3
    error_message = "The balancer is in every zone."
  }
}

run "drops_ids_of_strangers" {
  assert {
    condition     = toset([for header in yandex_alb_virtual_host.this.modify_request_headers : header.name if header.remove]) == toset(["x-request-id", "traceparent", "tracestate"])
    error_message = "Clients would choose ids in logs, and what is traced."
  }
}

run "a_colour_that_waits_gets_nothing" {
  variables {
    target_groups = { blue = { id = "one", weight = 100 }, green = { id = "two", weight = 0 } }
  }

  assert {
    condition     = yandex_alb_backend_group.this.http_backend[*].weight == tolist([100, -1])
    error_message = "The provider does not send a weight of 0: the colour would get requests."
  }
}

run "refuses_to_publish_everything" {
  command = plan

  variables {
    path_prefixes = ["/"]
  }

  expect_failures = [var.path_prefixes]
}
