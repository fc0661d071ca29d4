# Clients' way in: TLS with a certificate that renews itself, and only the paths that are for clients.

resource "yandex_vpc_address" "this" {
  name                = var.name
  deletion_protection = var.deletion_protection

  external_ipv4_address {
    zone_id = keys(var.subnet_ids)[0]
  }
}

resource "yandex_cm_certificate" "this" {
  name                = var.name
  domains             = [var.domain]
  deletion_protection = var.deletion_protection

  managed {
    challenge_type  = "DNS_CNAME"
    challenge_count = 1
  }
}

# Waits until the challenge's record was seen, so that the listener never begins without a certificate.
data "yandex_cm_certificate" "issued" {
  certificate_id  = yandex_cm_certificate.this.id
  wait_validation = true
}

resource "yandex_alb_backend_group" "this" {
  name = var.name

  dynamic "http_backend" {
    for_each = var.target_groups

    content {
      name = "collectors-${http_backend.key}"
      # Not positive means no requests. The provider leaves out a 0, which the cloud would take for no weight given.
      weight           = http_backend.value.weight > 0 ? http_backend.value.weight : -1
      target_group_ids = [http_backend.value.id]
      port             = var.port

      load_balancing_config {
        mode = "LEAST_REQUEST"
        # Never to a collector that says that it cannot store: better a 503 of the balancer, which clients try again.
        panic_threshold = 0
      }

      healthcheck {
        interval            = "2s"
        timeout             = "1s"
        healthy_threshold   = 2
        unhealthy_threshold = 2

        http_healthcheck {
          path = "/readyz"
        }
      }
    }
  }
}

resource "yandex_alb_http_router" "this" {
  name = var.name
}

resource "yandex_alb_virtual_host" "this" {
  name           = var.name
  http_router_id = yandex_alb_http_router.this.id
  authority      = [var.domain]

  # What a request is called in logs, and whether it is traced, no stranger says: docs/logs.md, docs/tracing.md.
  dynamic "modify_request_headers" {
    for_each = ["x-request-id", "traceparent", "tracestate"]

    content {
      name   = modify_request_headers.value
      remove = true
    }
  }

  # Metrics and status are not for the world.
  dynamic "route" {
    for_each = var.path_prefixes

    content {
      name = "path${replace(route.value, "/", "-")}"

      http_route {
        http_match {
          path {
            prefix = route.value
          }
        }

        http_route_action {
          backend_group_id = yandex_alb_backend_group.this.id
          # Above the 10 s that a collector tries to store, so that its answer comes before the balancer's.
          timeout = "30s"
        }
      }
    }
  }
}

resource "yandex_alb_load_balancer" "this" {
  name               = var.name
  network_id         = var.network_id
  security_group_ids = [var.security_group_id]

  allocation_policy {
    dynamic "location" {
      for_each = var.subnet_ids

      content {
        zone_id   = location.key
        subnet_id = location.value
      }
    }
  }

  listener {
    name = "https"

    endpoint {
      ports = [443]

      address {
        external_ipv4_address {
          address = yandex_vpc_address.this.external_ipv4_address[0].address
        }
      }
    }

    tls {
      default_handler {
        certificate_ids = [data.yandex_cm_certificate.issued.id]

        http_handler {
          http_router_id = yandex_alb_http_router.this.id

          http2_options {
            max_concurrent_streams = 100
          }
        }
      }
    }
  }

  listener {
    name = "redirect"

    endpoint {
      ports = [80]

      address {
        external_ipv4_address {
          address = yandex_vpc_address.this.external_ipv4_address[0].address
        }
      }
    }

    http {
      redirects {
        http_to_https = true
      }
    }
  }

  # Every request would be a line: failures are what is looked for.
  log_options {
    discard_rule {
      http_code_intervals = ["HTTP_2XX"]
      discard_percent     = 100
    }
  }
}
