terraform {
  required_version = ">= 1.11.0"

  required_providers {
    yandex = {
      source  = "yandex-cloud/yandex"
      version = ">= 0.222.0"
    }
  }
}
