plugin "terraform" {
  enabled = true
  preset  = "all"
}

# The stack and the example use their providers through modules only, and say there which versions these get.
rule "terraform_unused_required_providers" {
  enabled = false
}
