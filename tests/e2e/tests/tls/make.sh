#!/bin/sh
# Makes the keys and certificates beside it anew, for tests alone: an authority, and what it has signed for three servers.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
touch "$work/index"
printf '[ca]\ndefault_ca=own\n[own]\ndatabase=%s\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n' \
    "$work/index" "$work" > "$work/ca.cnf"
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
# NAME ALTERNATIVE-NAMES FROM UNTIL
signed() {
    printf 'subjectAltName=%s\nbasicConstraints=critical,CA:false\n' "$2" > "$work/ext"
    openssl req -new -key server.key -subj "/CN=$1" -out "$work/$1.csr"
    openssl ca -batch -notext -config "$work/ca.cnf" -cert authority.pem -keyfile "$work/authority.key" \
        -extfile "$work/ext" -startdate "$3" -enddate "$4" -in "$work/$1.csr" -out "$1.pem"
}
key "$work/authority.key"
openssl req -x509 -new -key "$work/authority.key" -subj "/CN=Authority of the tests" -days 36500 -out authority.pem \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
key server.key
signed here 'DNS:localhost,IP:127.0.0.1' 20130101000000Z 21130101000000Z
signed elsewhere 'DNS:bulkhead.example.com' 20130101000000Z 21130101000000Z
signed expired 'DNS:localhost,IP:127.0.0.1' 20130101000000Z 20140101000000Z
