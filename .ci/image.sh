#!/bin/sh
# Builds the image, pushes it, and signs what was pushed by its digest, so that nothing can come in between.
# Argument: the bill of materials, which is signed as well. Needs buildah and cosign; GitLab sets the variables.
# Writes image.env with IMAGE=registry/name@sha256:...
set -eu
bill_of_materials=$1
name=$CI_REGISTRY_IMAGE
tag=$CI_COMMIT_SHORT_SHA

# In a container: no overlay file system on another one, and a chroot for RUN. What the runner must allow for that:
# docs/operations.md#the-pipeline.
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
# Both programs find the login here.
export REGISTRY_AUTH_FILE="$PWD/.registry-auth.json"
trap 'rm -f "$REGISTRY_AUTH_FILE"' EXIT
printf '%s' "$CI_REGISTRY_PASSWORD" | buildah login --username "$CI_REGISTRY_USER" --password-stdin "$CI_REGISTRY"

buildah build --pull --layers --cache-from "$name/cache" --cache-to "$name/cache" \
  --build-arg REVISION="$CI_COMMIT_SHA" --label "org.opencontainers.image.source=$CI_PROJECT_URL" \
  --tag "$name:$tag" .
buildah push --digestfile image.digest "$name:$tag"
image="$name@$(cat image.digest)"

cosign sign --yes "$image"
cosign attest --yes --type cyclonedx --predicate "$bill_of_materials" "$image"
echo "IMAGE=$image" >image.env
