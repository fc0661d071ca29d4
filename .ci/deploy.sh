#!/bin/sh
# Moves requests between two groups of collectors, blue and green, behind the balancer that terraform/ makes.
#
#   .ci/deploy.sh canary TAG [SHARE]   the idle colour runs the image with this tag and gets SHARE (10) of 100 requests
#   .ci/deploy.sh promote TAG          the canary with this tag gets all requests, the streamers its tag; the other waits
#   .ci/deploy.sh rollback TAG         the colour with this tag gets all requests, then everything runs it
#   .ci/deploy.sh show                 both colours
#
# Which colour has what is read from Terraform's state, so that each step can be run by itself, or again.
# TERRAFORM_DIR: the directory (terraform). Needs terraform and jq. A canary leaves deploy.env: STABLE_TAG, the tag to
# roll back to; and when it has its requests, CANARY and STABLE, the colours.
set -eu

directory=${TERRAFORM_DIR:-terraform}
case ${1:-} in canary | promote | rollback | show) step=$1 ;; *)
  sed -n '2,/^set/{/^#/p;}' "$0" >&2
  exit 2
  ;;
esac
tag=${2:-}

now=$(terraform -chdir="$directory" output -json releases)
if [ "$step" = show ]; then
  printf '%s\n' "$now" | jq .
  exit
fi

# A colour with weight 0 keeps its machines: the way back takes no longer than the balancer does.
next=$(
  printf '%s\n' "$now" | jq --arg step "$step" --arg tag "$tag" --argjson share "${3:-10}" '
    (to_entries | max_by(.value.weight).key) as $live | ({blue: "green", green: "blue"}[$live]) as $idle |
    if $tag == "" then error("say which tag") else . end |
    if $step == "canary" then
      if $share < 1 or $share > 49 then error("the share must be 1 to 49, not \($share)") else . end |
      .[$idle] = {image_tag: $tag, weight: $share} | .[$live].weight = 100 - $share
    elif $step == "promote" then
      if (.[$idle].weight // 0) == 0 then error("\($idle) gets no requests: there is no canary to promote") else . end |
      if .[$idle].image_tag != $tag then error("the canary is \(.[$idle].image_tag) by now, not \($tag)") else . end |
      .[$idle].weight = 100 | .[$live].weight = 0
    else
      (to_entries | map(select(.value.image_tag == $tag)) | max_by(.value.weight).key) as $good |
      if $good == null then error("no colour runs \($tag) any more: make it a canary") else . end |
      with_entries(.value = {image_tag: $tag, weight: (if .key == $good then 100 else 0 end)})
    end'
)
stable_tag=$(printf '%s\n' "$now" | jq -r 'to_entries | max_by(.value.weight).value.image_tag')

# Applies the releases that are given, and the streamers' tag. A release changes machines; what would delete or replace
# something else is for a person to apply.
apply() {
  printf '%s\n' "$1" | jq --arg tag "$2" '{releases: ., image_tag: $tag}' >"$directory/release.auto.tfvars.json"
  terraform -chdir="$directory" plan -input=false -out=release.tfplan
  plan=$(terraform -chdir="$directory" show -json release.tfplan)
  deleted=$(printf '%s\n' "$plan" | jq -r '.resource_changes[]? | select(.change.actions | index("delete")) | .address')
  if [ -n "$deleted" ]; then
    echo "This release would delete or replace, and was not applied: $deleted. Apply that by hand first." >&2
    exit 1
  fi
  terraform -chdir="$directory" apply -input=false release.tfplan
}

case $step in
canary)
  echo "STABLE_TAG=$stable_tag" >deploy.env
  apply "$next" "$stable_tag"
  printf '%s\n' "$next" |
    jq -r 'to_entries | "CANARY=\(min_by(.value.weight).key)\nSTABLE=\(max_by(.value.weight).key)"' >>deploy.env
  ;;
promote)
  apply "$next" "$tag"
  ;;
rollback)
  # The balancer waits for groups that change: requests move at once only while the machines stay as they are.
  apply "$(jq -n --argjson now "$now" --argjson next "$next" '$now | with_entries(.value.weight = $next[.key].weight)')" "$tag"
  apply "$next" "$tag"
  ;;
esac
