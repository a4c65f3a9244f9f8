// Package upstream is for the payment service behind Envoy. It lets a handler
// run only for a call that Countersign has allowed, as it was allowed, and once.
//
// # Five lines
//
//	key, err := upstream.ReadKey("/etc/payments/countersign.key")
//	verifier, err := upstream.NewVerifier("sto_…", "payments.example", key)
//	executions, err := upstream.OpenExecutions("/var/lib/payments/executions")
//	guard := upstream.Guard{Verifier: verifier, Executions: executions}
//	http.Handle("POST /v1/accounts/{account}/payments", guard.Handler(pay))
//
// The key is made by "countersign key new" and given to the sidecar too ("serve
// --upstream-key payments.example=FILE"); the sidecar's log says which
// issuer sto_… is. In the handler
//
//	payment, _ := upstream.FromContext(r.Context())
//
// is what was allowed: whose account, to whom, how much. Pay that, not what the
// body says: the decision was made on it.
//
// # What it does
//
// An allowed call that moves money carries a token in the header
// countersign-token, signed with a key that Countersign shares with one service
// alone ([Claims]). A [Guard] refuses
//
//   - a call without exactly one token, or whose token is not good, not for this
//     service, or expired ([Verifier.Verify]);
//   - a call whose method, host, path, query or body is not, byte for byte, the
//     one that was decided on;
//   - a second run of a reservation: the answer of the first one is repeated
//     ([Executions]).
//
// Every refusal is a problem document (RFC 9457) with a stable code, [Refusal],
// and nothing has happened then.
//
// The middleware must see the request as Envoy sent it: put it outside of
// whatever rewrites paths or reads bodies. Envoy must not rewrite either
// (prefix_rewrite, host_rewrite).
//
// # Once
//
// A caller that gets no answer repeats its call under the same idempotency key,
// and Countersign forwards it again with the same reservation. The service must
// not pay twice. [FileExecutions] remembers answers in a file, and is good for a
// small service with one process. A service with an SQL database should do it
// there, in the transaction that pays; then no crash leaves a payment of which
// nobody knows whether it was made:
//
//	CREATE TABLE execution (
//	  reservation_id TEXT PRIMARY KEY,
//	  fingerprint    TEXT NOT NULL,
//	  status         INT,
//	  body           BYTEA
//	);
//
// With a Guard whose Executions is [InHandler], the handler does:
//
//	BEGIN;
//	INSERT INTO execution (reservation_id, fingerprint) VALUES ($1, $2)
//	  ON CONFLICT DO NOTHING;  -- waits for another transaction with this key
//	-- no row inserted: read the row and ROLLBACK; the same fingerprint: answer
//	-- what it holds, another one: refuse
//	-- one row inserted: pay, in this transaction
//	UPDATE execution SET status = $3, body = $4 WHERE reservation_id = $1;
//	COMMIT;
//
// with [Payment.ReservationID] and [Payment.Fingerprint]. docs/upstream.md has
// more, also for services in other languages.
package upstream
