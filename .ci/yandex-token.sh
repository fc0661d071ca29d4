#!/bin/sh
# Prints a token of Yandex Cloud in exchange for the one that GitLab gives this job (workload identity federation).
# YANDEX_ID_TOKEN: GitLab's; YANDEX_SERVICE_ACCOUNT: id of the account that trusts it. Needs jq.
# Source: https://yandex.cloud/en/docs/iam/operations/wlif/setup-wlif
set -eu
kind=urn:ietf:params:oauth
answer=$(wget -q -O - https://auth.yandex.cloud/oauth/token --post-data "grant_type=$kind:grant-type:token-exchange\
&requested_token_type=$kind:token-type:access_token&audience=$YANDEX_SERVICE_ACCOUNT\
&subject_token=$YANDEX_ID_TOKEN&subject_token_type=$kind:token-type:id_token") || {
  echo "Yandex Cloud gives no token: is YANDEX_SERVICE_ACCOUNT linked to a federation with this project and branch?" >&2
  exit 1
}
echo "$answer" | jq -er .access_token
