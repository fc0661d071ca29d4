variables {
  name        = "millrace"
  image       = "registry.example/millrace:1.2.3"
  arguments   = ["stream"]
  environment = { MILLRACE_BUFFER = "kafka" }
  secrets     = { MILLRACE_CLICKHOUSE_PASSWORD = { secret_id = "e6q1", key = "password", version = 3 } }
}

run "is_cloud_config" {
  assert {
    condition     = startswith(output.user_data, "#cloud-config\n") && can(yamldecode(output.user_data).write_files)
    error_message = "cloud-init takes YAML after a line #cloud-config."
  }

  assert {
    condition = strcontains(
      base64decode(one([for file in yamldecode(output.user_data).write_files : file.content if endswith(file.path, ".service")])),
      "registry.example/millrace:1.2.3 stream",
    )
    error_message = "The unit does not run the image with its arguments."
  }

  assert {
    condition = strcontains(
      base64decode(one([for file in yamldecode(output.user_data).write_files : file.content if endswith(file.path, "/environment")])),
      "MILLRACE_CLICKHOUSE_PASSWORD_FILE=/run/millrace/MILLRACE_CLICKHOUSE_PASSWORD\n",
    )
    error_message = "The program is not told where its secret is."
  }

  assert {
    condition     = !can(regex("[{}]", output.user_data))
    error_message = "An instance group would take what is in braces for a variable."
  }

  assert {
    condition     = !can(yamldecode(output.user_data).users)
    error_message = "Without a key there is no user to log in as."
  }
}

run "mounts_a_data_disk" {
  variables {
    data_disk = { device_name = "data", path = "/var/lib/kafka" }
  }

  assert {
    condition     = yamldecode(output.user_data).fs_setup[0].overwrite == false
    error_message = "A disk with data would be formatted."
  }
}

run "refuses_latest" {
  command = plan

  variables {
    image = "registry.example/millrace:latest"
  }

  expect_failures = [var.image]
}

run "refuses_a_name_with_spaces" {
  command = plan

  variables {
    name = "the collector"
  }

  expect_failures = [var.name]
}

run "refuses_arguments_that_systemd_reads" {
  command = plan

  variables {
    arguments = ["collect", "--listen=$HOST"]
  }

  expect_failures = [var.arguments]
}

run "refuses_a_password_in_user_data" {
  command = plan

  variables {
    environment = { MILLRACE_CLICKHOUSE_PASSWORD = "secret" }
  }

  expect_failures = [var.environment]
}

run "refuses_certificates_over_http" {
  command = plan

  variables {
    ca_url = "http://example.com/ca.pem"
  }

  expect_failures = [var.ca_url]
}
