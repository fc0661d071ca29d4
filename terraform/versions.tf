terraform {
  # Write-only arguments and ephemeral variables, which keep passwords out of the state, came with 1.11.
  required_version = ">= 1.11.0"

  required_providers {
    yandex = {
      source  = "yandex-cloud/yandex"
      version = "~> 0.222"
    }
  }
}
