plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Modules share no provider block, and the stack leaves the provider's settings to the environment.
rule "terraform_required_providers" {
  enabled = true
}
