#!/bin/sh
# send.sh ROOM JSON [ID] - one signed delivery, as a service would send it. WEBHOOK_SECRET is the server's; URL where it is.
set -eu
room=$1 body=$2 id=${3:-msg_$(date +%s%N)} at=$(date +%s)
key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
signature=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
curl -sS -w ' %{http_code}\n' "${URL:-http://localhost:8765}/hooks/$room" -H 'Content-Type: application/json' \
    -H "webhook-id: $id" -H "webhook-timestamp: $at" -H "webhook-signature: v1,$signature" -d "$body"
