# The same records as module dns makes, in a zone of Cloudflare (provider v5).

resource "cloudflare_dns_record" "this" {
  for_each = var.records

  zone_id = var.zone_id
  name    = trimsuffix(each.value.name, ".")
  type    = each.value.type
  content = trimsuffix(each.value.value, ".")
  ttl     = 300
  # Behind Cloudflare's proxy, the certificate of the balancer would not be the one that clients see.
  proxied = false
}
