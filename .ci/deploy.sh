#!/bin/sh
# Moves requests between two groups of collectors, blue and green, behind the balancer that terraform/ makes.
#
#   .ci/deploy.sh canary TAG [SHARE]   the idle colour runs the image with this tag and gets SHARE (10) of 100 requests
#   .ci/deploy.sh promote TAG          the canary with this tag gets all requests, the streamers its tag; the other waits
#   .ci/deploy.sh rollback             the colour from before gets all requests again, and everything runs its tag
#   .ci/deploy.sh show                 both colours
#
# Which colour has what is read from Terraform's state, so that each step can be run by itself, or again.
# TERRAFORM_DIR: the directory (terraform). Needs terraform and jq. Writes deploy.env: CANARY and STABLE, the colours.
set -eu

directory=${TERRAFORM_DIR:-terraform}
case ${1:-} in canary | promote | rollback | show) step=$1 ;; *)
  sed -n '2,/^set/{/^#/p;}' "$0" >&2
  exit 2
  ;;
esac

releases=$(terraform -chdir="$directory" output -json releases)
if [ "$step" = show ]; then
  echo "$releases" | jq .
  exit
fi

# A colour with weight 0 keeps its machines: the way back takes no longer than the balancer does.
next=$(
  echo "$releases" | jq --arg step "$step" --arg tag "${2:-}" --argjson share "${3:-10}" '
    (to_entries | max_by(.value.weight).key) as $live | ({blue: "green", green: "blue"}[$live]) as $idle |
    .[$idle] //= {image_tag: .[$live].image_tag, weight: 0} |
    if $tag == "" and $step != "rollback" then error("say which tag") else . end |
    if $step == "canary" then
      if $share < 1 or $share > 49 then error("the share must be 1 to 49, not \($share)") else . end |
      .[$idle] = {image_tag: $tag, weight: $share} | .[$live].weight = 100 - $share
    elif $step == "promote" then
      if .[$idle].weight == 0 then error("\($idle) gets no requests: there is no canary to promote") else . end |
      if .[$idle].image_tag != $tag then error("the canary is \(.[$idle].image_tag) by now, not \($tag)") else . end |
      .[$idle].weight = 100 | .[$live].weight = 0
    elif .[$idle].weight > 0 then .[$live].weight = 100 | .[$idle] = {image_tag: .[$live].image_tag, weight: 0}
    else .[$idle].weight = 100 | .[$live] = {image_tag: .[$idle].image_tag, weight: 0}
    end'
)
echo "$next" | jq '{
  releases: .,
  image_tag: (to_entries | max_by(.value.weight).value.image_tag)
}' >"$directory/release.auto.tfvars.json"

# A release changes machines; what would delete or replace something else is for a person to apply.
terraform -chdir="$directory" plan -input=false -out=release.plan
deleted=$(terraform -chdir="$directory" show -json release.plan |
  jq -r '.resource_changes[]? | select(.change.actions | index("delete")) | .address')
if [ -n "$deleted" ]; then
  echo "This release would delete or replace, and was not applied: $deleted. Apply that by hand first." >&2
  exit 1
fi
terraform -chdir="$directory" apply -input=false release.plan
echo "$next" | jq -r '"CANARY=\(to_entries | min_by(.value.weight).key)\nSTABLE=\(to_entries | max_by(.value.weight).key)"' >deploy.env
