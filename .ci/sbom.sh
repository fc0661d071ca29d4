#!/bin/sh
# Writes the bill of materials of what is shipped, as CycloneDX, valid by its schema, to the file that is named.
set -eu
# The packages behind the first are for the validation; without its optional ones nothing is compiled.
exec npx --yes --omit=optional -p @cyclonedx/cyclonedx-npm@6.0.1 \
  -p ajv@8.20.0 -p ajv-formats@3.0.1 -p ajv-formats-draft2019@1.6.1 -- \
  cyclonedx-npm --package-lock-only --omit dev --mc-type application --output-reproducible --validate --output-file "$1"
