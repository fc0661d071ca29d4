mock_provider "yandex" {}

variables {
  name                = "test"
  environment_names   = { password = "TF_VAR_clickhouse_password" }
  secrets_version     = 1
  reader_ids          = { streamer = "account" }
  deletion_protection = true
}

run "the_state_has_no_value" {
  assert {
    condition     = alltrue([for entry in yandex_lockbox_secret_version.this.entries : entry.text_value == null || entry.text_value == ""])
    error_message = "The value would be in the state."
  }

  assert {
    condition     = strcontains(yandex_lockbox_secret_version.this.entries[0].command[0].args[1], "$${TF_VAR_clickhouse_password:?")
    error_message = "The value is taken from the environment, and its absence is an error."
  }
}

run "refuses_a_value_for_a_name" {
  command = plan

  variables {
    environment_names = { password = "p4ss word" }
  }

  expect_failures = [var.environment_names]
}
