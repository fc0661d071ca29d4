# A bucket for the state of the stack, made once, with a state of its own on this machine. The stack then says
# `backend "s3"` with the bucket's name: backend.tf.example, beside this file.

resource "yandex_storage_bucket" "state" {
  bucket = var.bucket

  # An earlier state can be had back.
  versioning {
    enabled = true
  }

  lifecycle_rule {
    id      = "former states"
    enabled = true

    noncurrent_version_expiration {
      days = 90
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "yandex_iam_service_account" "state" {
  name        = "${var.bucket}-state"
  description = "reads and writes the state of terraform"
}

resource "yandex_storage_bucket_iam_binding" "state" {
  bucket  = yandex_storage_bucket.state.bucket
  role    = "storage.editor"
  members = ["serviceAccount:${yandex_iam_service_account.state.id}"]
}
