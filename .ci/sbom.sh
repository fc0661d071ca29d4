#!/bin/sh
# Writes the bill of materials of what is shipped, as CycloneDX, valid by its schema, to the file that is named.
set -eu
tool=$(dirname "$0")/sbom
# By a lock file of its own, with the hash of every package; without the optional ones nothing is compiled.
npm ci --prefix "$tool" --omit=optional --ignore-scripts --no-audit --no-fund --silent
exec "$tool/node_modules/.bin/cyclonedx-npm" \
  --package-lock-only --omit dev --mc-type application --output-reproducible --validate --output-file "$1"
