# Direct payment: Anna pays from her own account. The key stays: the same line again is a retry.
call anna POST /v1/accounts/acc_anna/payments '{"payee": "mer_bakery", "amount_minor": 50000, "currency": "EUR"}' shoes
# and one cent more than her maximum
call anna POST /v1/accounts/acc_anna/payments '{"payee": "mer_bakery", "amount_minor": 50001, "currency": "EUR"}' boots

# why: every reason, the input, the answer; then the sidecar's rules again, and stock OPA
WHY=$(said countersign-decision-id)
COUNTERSIGN decision get $WHY --data DIR/data
COUNTERSIGN decision replay $WHY --data DIR/data
[ -d DIR/$WHY ] || COUNTERSIGN decision export $WHY DIR/$WHY --data DIR/data
go tool opa eval --bundle DIR/$WHY/bundle.tar.gz --input DIR/$WHY/input.json --strict-builtin-errors --format pretty data.payments.decision
