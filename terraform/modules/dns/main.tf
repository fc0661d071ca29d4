# Records in a zone of Yandex Cloud DNS.

resource "yandex_dns_recordset" "this" {
  for_each = var.records

  zone_id = var.zone_id
  name    = each.value.name
  type    = each.value.type
  ttl     = 300
  data    = [each.value.value]
}
