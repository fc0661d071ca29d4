output "address" {
  description = "Public IPv4 address."
  value       = yandex_vpc_address.this.external_ipv4_address[0].address
}

output "records" {
  description = "DNS records that the domain needs: one to the balancer, one for the certificate, now and at each renewal."
  value = {
    balancer = { name = "${var.domain}.", type = "A", value = yandex_vpc_address.this.external_ipv4_address[0].address }
    certificate = {
      name  = yandex_cm_certificate.this.challenges[0].dns_name
      type  = yandex_cm_certificate.this.challenges[0].dns_type
      value = yandex_cm_certificate.this.challenges[0].dns_value
    }
  }
}
