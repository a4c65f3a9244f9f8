package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// byHand is what keep prints: both stories, for a shell. DIR is where the demo keeps its
// files, COUNTERSIGN the binary. A key is new for each payment, so the lines that may be
// pasted again ask the clock for one.
const byHand = `Still running, until Ctrl-C. The operator has lifted Anna's account again. To go on by hand, open another
terminal in this directory, and paste:

  . DIR/by-hand.sh    # where Envoy is, and who calls: $ANNA, $LENA and $BAKERY, with tokens for an hour

Direct payment. The key stays: the same line again is a retry.

  # Anna pays 500.00 EUR, exactly her maximum
  curl -i -H "$ANNA" -H "$JSON" -H 'idempotency-key: shoes' \
    -d '{"payee": "mer_bakery", "amount_minor": 50000, "currency": "EUR"}' $URL/v1/accounts/acc_anna/payments

  # and one cent more
  curl -i -H "$ANNA" -H "$JSON" -H 'idempotency-key: boots' \
    -d '{"payee": "mer_bakery", "amount_minor": 50001, "currency": "EUR"}' $URL/v1/accounts/acc_anna/payments

Delegated payment: a new grant, and what it does not let through.

  # Anna lets Lena pay again, 20.00 at a time and 30.00 a day: the terms are in DIR/offer.json
  curl -s -H "$ANNA" -H "$JSON" -H "idempotency-key: $(date +%s%N)" -d @DIR/offer.json \
    $URL/countersign/v1/accounts/acc_anna/grants | tee DIR/grant.json
  GRANT=$(grep -o 'grt_[a-z2-7]*' DIR/grant.json | head -n 1)

  # Lena accepts, and her device fetches what it makes codes from: once, and a secret
  curl -i -X POST -H "$LENA" -H "idempotency-key: $(date +%s%N)" $URL/countersign/v1/grants/$GRANT/accept
  (umask 077; curl -s -X POST -H "$LENA" -H "idempotency-key: $(date +%s%N)" $URL/countersign/v1/grants/$GRANT/parameters |
    grep -o 'otpauth://[^"]*' > DIR/lena.otpauth)

  # a code, good for one payment, whatever becomes of it; the next one comes within 30 seconds
  COUNTERSIGN code --once DIR/lena.otpauth

  # the bakery charges 12.50
  curl -i -H "$BAKERY" -H "$JSON" -H "idempotency-key: $(date +%s%N)" \
    -d '{"payment_code": "'$(COUNTERSIGN code --once DIR/lena.otpauth)'", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}' \
    $URL/v1/payments

  # half a minute later 20.01, a cent over one payment and more than is left of the day: the merchant hears little
  sleep 30; curl -i -H "$BAKERY" -H "$JSON" -H "idempotency-key: $(date +%s%N)" \
    -d '{"payment_code": "'$(COUNTERSIGN code --once DIR/lena.otpauth)'", "payee": "mer_bakery", "amount_minor": 2001, "currency": "EUR"}' \
    $URL/v1/payments

  # Lena sees what remains
  curl -i -H "$LENA" $URL/countersign/v1/grants/$GRANT

  # the operator sees why: every reason, the input, the answer; then the sidecar's rules and stock OPA again
  WHY=$(COUNTERSIGN decision list --outcome deny --limit 1 --data DIR/data | grep -o 'dec_[a-z2-7]*')
  COUNTERSIGN decision get $WHY --data DIR/data
  COUNTERSIGN decision replay $WHY --data DIR/data
  COUNTERSIGN decision export $WHY DIR/$WHY --data DIR/data
  go tool opa eval --bundle DIR/$WHY/bundle.tar.gz --input DIR/$WHY/input.json --format pretty data.payments.decision

  # Anna freezes the grant, which acts on the next call, and the operator looks at it
  curl -i -X POST -H "$ANNA" -H "idempotency-key: $(date +%s%N)" $URL/countersign/v1/grants/$GRANT/freeze
  COUNTERSIGN grant get $GRANT --data DIR/data

Rules: those in DIR/policies decide. A change acts without a restart, once its tests have passed.

  # an account has at most two grants at a time, and Anna has them: Max's and Lena's
  sed -i 's/^max_delegates: .*/max_delegates: 2/' DIR/policies/systems/delegated_payment/data.yaml
  tail -f DIR/countersign.log    # until a line says "policy" again, with another digest; then Ctrl-C
  curl -i -H "$ANNA" -H "$JSON" -H "idempotency-key: $(date +%s%N)" -d @DIR/offer.json $URL/countersign/v1/accounts/acc_anna/grants
`

// keep prints how to call by hand and waits until it is told to end.
func (w *world) keep(ctx context.Context) error {
	w.kept = true
	if _, err := w.countersign(ctx, "account", "unfreeze", "acc_anna"); err != nil {
		return err
	}
	if err := w.writeByHand(); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", strings.NewReplacer("DIR", w.dir, "COUNTERSIGN", w.binary).Replace(byHand))
	fmt.Printf("What is decided: %s decision tail --data %s/data\n", w.binary, w.dir)
	fmt.Printf("Envoy's counters: %s/stats. The sidecar is process %d: kill it, and call again.\n",
		w.envoy.AdminURL(), w.sidecar.Process.Pid)
	<-ctx.Done()
	fmt.Println("\nStopped.")
	return nil
}

// writeByHand writes what the printed lines need: the callers' headers, as variables
// of a shell, and the body of an offer.
func (w *world) writeByHand() error {
	var vars strings.Builder
	fmt.Fprintf(&vars, "URL=%s\nJSON='content-type: application/json'\n", w.envoy.URL())
	for _, caller := range []string{"anna", "lena", "bakery"} {
		token, err := w.issuer.Token(caller, tokenLife, nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(&vars, "%s='authorization: Bearer %s'\n", strings.ToUpper(caller), token)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "by-hand.sh"), []byte(vars.String()), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "offer.json"), []byte(offer("lena", aDay, noCooling)+"\n"), 0o600)
}
