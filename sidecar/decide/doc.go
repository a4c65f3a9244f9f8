// Package decide decides one call. There is no other place where anything is
// decided.
//
// # The way of a call
//
//  1. Admission ([Decider.Decide], admit.go): the clock must be certain, enough time
//     must be left, and not too much in flight: of all callers, of this one, or of
//     those who would change the same account or grant.
//  2. Decode (package call): the request becomes a typed call, or is refused. Where
//     Envoy asks a second time, the answer is the one that it missed (repeats.go).
//  3. Plan (plan.go): the facts that the route names lead to entities (by fields, by
//     who calls, by the grant that evidence points to), which are declared to the
//     store: shared for what is only read, exclusive for what an effect may change.
//     It is a guess, and followed again under the locks: where it leads elsewhere
//     then, nothing was written, and the call is planned again.
//  4. One transaction (transact.go), under the locks of those entities: the facts
//     (facts.go); what became of the call's idempotency key (key.go), and what that
//     means for this call (retry.go); what the call's secret fields prove
//     (evidence.go); the policy's verdict on all of it (input.go, input_facts.go); its
//     effects (effects.go), and what a route says that the sidecar does itself
//     (builtin.go); the evidence spent (evidence.go); what is known about the key from
//     now on (key.go); the record (record.go). Where there is no verdict, a second one
//     writes what stands nevertheless.
//  5. Answer, once the transaction is durable. Not before: what a caller hears, a
//     crash cannot take back. A failure is an answer too (fail.go).
//
// A route without facts, secret fields and idempotency touches no store: it is
// only evaluated.
//
// # The answers
//
//   - allow: the policy permits it, has no reason against it, and its effects are
//     durable. Nothing else lets a call pass;
//   - deny: the request is refused as it stands, or the policy denies it;
//   - defect: the policy failed, or contradicts what must hold (below). Trying
//     again will not help until somebody mends it;
//   - unavailable: there is no answer now. The call can be tried again.
//
// # Retries
//
// A call that moves money carries an idempotency key. The key stands for one call
// of one caller to one operation, and the first final answer to it stays. The
// same call has the same fingerprint (call.Call.Fingerprint), which leaves secret
// fields out; whether it shows the same evidence is told by a keyed MAC of those.
//
//	known about the key        same call,              same call,             another call
//	                           same evidence           other evidence
//	------------------------   ---------------------   --------------------   ------------
//	nothing, or no final       evaluated; evidence     evaluated; the other   422
//	answer (defect,            that was spent before   evidence is spent
//	unavailable)               is not spent again
//	denied                     told again; nothing     evaluated: a new       422
//	                           is burnt                attempt
//	allowed, can run again*    forwarded again         forwarded again; the   422
//	                                                   other evidence is
//	                                                   neither looked at
//	                                                   nor spent
//	allowed, otherwise         409, with what became   the same               422
//	                           of the reservation
//
// *An allowed call can run again while its reservation is pending, what that takes
// money from still pays (its account is not frozen, its grant active), and the route
// says that the service behind it runs a reservation once (`upstream: idempotent`), as
// it said of the same service when the call was allowed: another one, or one that did
// not keep count then, would run it a second time. It then goes upstream with the same
// reservation and is marked as a replay. Account and grant are those of the
// reservation, whatever other evidence would lead to now: a code of another grant, or
// one issued since, changes nothing.
//
// A built-in operation is not done again. Who called is shown again what became of it,
// while it is the owner of the account or the delegate of the grant; parameters only
// to the delegate, while they are those that this call fetched and no code of them was
// used. Otherwise it is 409.
//
// A call without evidence shows the same evidence as another one without.
// The same evidence is that of the last evaluation under the key: nothing older is
// remembered.
//
// Two at once: the second waits for the lock of the key, and then finds what
// became of the first. An answer that Envoy did not hear is not a retry: Envoy
// asks again with the same stream ID (`request.http.id`), and gets the answer
// that it missed (repeats.go).
//
// # Evidence
//
// A secret field is shown to the kind of evidence that the route says it is; the
// policy sees what was found out (`input.evidence`), never the secret. Evidence
// that was shown is spent, whatever comes of the call: an allow uses up what
// matched, every other answer burns an attempt. Evidence may also be used up by
// whatever it is evaluated for, as a payment code is: then it has paid with itself,
// and stays used. Whose attempt is burnt depends on who
// sent it: the thing's own only if it came from the sender that the thing
// expects, otherwise the sender's. So strangers who guess lock themselves out and
// nobody else, and learn nothing from it: the answers are alike.
//
// Evidence that points to a grant proves nothing about a call that is not about that
// grant: it does not match, and is not used up.
//
// # What a policy cannot do
//
// Each of these is a defect: nothing of the verdict is done, the caller gets 500
// `policy_defect`, and what the call showed is spent.
//
//   - an allow that moves money without exactly one reservation, equal to the
//     call in account, payee, amount and currency; where a grant pays, the account is
//     the grant's, and the reservation names the grant;
//   - a reservation on a denial, on a route that moves no money, or of an account
//     that the route does not declare `write`;
//   - a reservation that the store refuses: over a limit of the account or the grant,
//     of a frozen account, by a grant that is not active or not valid now;
//   - an allow of a built-in operation that the store refuses: in the wrong state,
//     about what there is not. Where the call's own terms are at fault, it is a denial
//     (422), and where parameters were fetched before (409);
//   - an allow though evidence was shown that did not match;
//   - an effect that is not known here;
//   - an error, or a verdict that is not exactly a decision (package policy).
package decide
