# The stack, with the domain's records at Cloudflare. The provider takes its token from CLOUDFLARE_API_TOKEN; the token
# needs Zone.DNS Edit on this one zone. Other variables of the stack, as `collectors`, are set here.

module "millrace" {
  source = "../.."

  domain              = var.domain
  dns_zone_id         = null
  admin_cidrs         = var.admin_cidrs
  ssh_public_key      = var.ssh_public_key
  host_image_id       = var.host_image_id
  image_tag           = var.image_tag
  releases            = var.releases
  deletion_protection = var.deletion_protection
  clickhouse_password = var.clickhouse_password
  analyst_password    = var.analyst_password
}

module "dns" {
  source = "../../modules/dns-cloudflare"

  zone_id = var.cloudflare_zone_id
  records = module.millrace.dns_records
}
