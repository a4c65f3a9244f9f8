# For a shell: `. DIR/by-hand/callers.sh`. It says where Envoy is and how to call.
URL=ENVOY
ANSWER=DIR/by-hand/answer.$$ # the last one in this shell: several may call side by side

# call WHO METHOD PATH [BODY [KEY]] calls through Envoy, with the token of WHO. A key is new
# for each call, and the same for each retry.
call() {
  if [ -n "${4:-}" ]; then
    set -- "$1" "$2" "$3" "$4" "${5:-$(new_key)}" -H 'content-type: application/json' -d "$4"
  else
    set -- "$1" "$2" "$3" "" "${5:-$(new_key)}"
  fi
  who=$1 method=$2 path=$3 key=$5
  shift 5
  curl -s -i -X "$method" -H "$(bearer "$who")" -H "idempotency-key: $key" "$@" "$URL$path" | tr -d '\r' > "$ANSWER"
  sed '/^date: /d; /^server: /d; /^x-envoy/d; s/\("[a-z_]*qr_[a-z]*":"\)\(\\.\|[^"\\]\)*/\1…/g' "$ANSWER"; echo; echo
}
new_key() { date +%s%N; }
bearer() { printf 'authorization: Bearer '; cat "DIR/by-hand/tokens/$1"; }

# said NAME is a header of the last answer; told NAME is a text in its body.
said() { sed -n "s/^$1: //p" "$ANSWER"; }
told() { grep -o "\"$1\":\"[^\"]*" "$ANSWER" | head -n 1 | cut -d '"' -f 4; }

# messages TERMINAL are its newest four, read as a stream; newest TERMINAL NAME is what the
# newest that has NAME says of it, such as code.
messages() { curl -s -N --max-time 1 -H "$(bearer "$1")" $URL/countersign/v1/messages | sed -n 's/^data: //p' | tail -n 4; }
newest() { messages "$1" | grep -o "\"$2\":\"[^\"]*" | tail -n 1 | cut -d '"' -f 4; }
