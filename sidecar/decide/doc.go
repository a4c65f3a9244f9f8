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
//  3. Plan (plan.go): in a snapshot, everything that the call is about is read (facts.go):
//     what is known about its idempotency key (key.go), what its evidence leads to
//     (evidence.go), then each fact that its route names, by the fields, by who calls, or by
//     what was read before (facts_*.go). All that was looked at is declared to the store
//     as shared, and what an effect may write as exclusive. Each effect says what it
//     writes beside what it does (…Refs). It is a guess: the transaction reads again, the
//     store refuses what was not declared, and the call is planned again.
//  4. One transaction (transact.go), under those locks: the facts are read; what became of
//     the key may be the answer (key.go); what the call's secret fields prove
//     (evidence.go); the policy's verdict on all of it (input.go, input_*.go),
//     held to the call (claim.go); its effects (effects.go): reservations,
//     challenges (challenge.go), intents (intent.go), messages (message.go); what a
//     route says that the sidecar does itself (builtin.go, builtin_*.go); the
//     evidence spent (evidence.go); what is known about the key from now on (key.go); the
//     record (record.go). Where there is no verdict, a second one writes what stands
//     nevertheless.
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
//   - step_up: the policy denies it until somebody has answered a challenge. It is not
//     final: the call is to be repeated under its key (below);
//   - defect: the policy failed, or contradicts what must hold (below). Trying
//     again will not help until somebody mends it;
//   - unavailable: there is no answer now. The call can be tried again.
//
// # Retries
//
// A call that moves money, or may ask for a challenge, carries an idempotency key. The
// key stands for one call of one caller to one operation, and the first final answer to
// it stays. The same call has the same fingerprint (call.Call.Fingerprint), which leaves
// secret fields out; whether it shows the same evidence is told by a keyed MAC of those.
//
//	known about the key        same call,              same call,             another call
//	                           same evidence           other evidence
//	------------------------   ---------------------   --------------------   ------------
//	nothing, or no final       evaluated; evidence     evaluated; the other   422
//	answer (defect,            that was spent before   evidence is spent
//	unavailable, 429)          is not spent again
//	a challenge was asked      evaluated, with what    evaluated, with what   422
//	for (step_up), and it is   became of it; what      became of it; the
//	the key's until a final    matched then matches    other evidence is
//	answer: see below          still, and is not       spent
//	                           spent again
//	denied                     told again; nothing     evaluated: a new       422
//	                           is burnt                attempt
//	allowed, can run again*    forwarded again         forwarded again; the   422
//	                                                   other evidence is
//	                                                   neither looked at
//	                                                   nor spent
//	allowed, otherwise         409, with what became   the same               422
//	                           of the reservation, and
//	                           the intent
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
// used. Otherwise it is 409. The answer to a code's entry is the same whatever becomes of
// it, also when it is told again; an entry of another code is another call.
//
// An allowed call that opened an intent and moves no money can run again while the
// intent is not closed and its account pays, under the same promise of the service.
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
// # Step-up
//
// Where the policy's verdict is a denial with the effect issue_challenge, the call is
// answered 401, and its key stays pending with the challenge. The messages of the
// challenge are written with it, one for each terminal. The people asked answer in calls
// of their own: codes by enter_code (builtin_entry.go), approvals by approve_challenge
// (builtin_challenge.go). Then the call is repeated under its key, and the policy sees what became
// of the challenge.
//
//	the key's challenge        the verdict             what becomes of both
//	------------------------   ---------------------   ---------------------------------
//	none                       issue_challenge         issued; its messages are written
//	open                       the same challenge      kept: nothing is sent, no start
//	                           again                   is counted
//	open                       another challenge       replaced by the new one
//	satisfied                  issue_challenge         replaced by a new one
//	expired, locked,           issue_challenge         a new one is issued
//	rejected, replaced
//	satisfied                  allow                   consumed, once
//	satisfied                  a final denial          consumed: what was presented is
//	                                                   spent
//	open                       a final denial          replaced: nobody waits for it
//	not satisfied              allow                   a defect
//
// The same challenge is of the same kind, for the same terminals, answered by the same
// side, under the same condition, about the same intent. A challenge that the same caller
// asked for the same call under another key is replaced by a new one too. A satisfied
// challenge reads as replaced once a terminal that answered it was unbound, frozen or
// bound anew.
//
// An entry of a code is a deposit: it always gets the same answer, and the policy
// neither sees it nor the challenge. It counts if the challenge expects the sender; the
// entry that completes a set has it judged, and a failed set burns one attempt of the
// challenge. Five that fail in a row, of whatever challenges of the account, lock that of
// the fifth and the account's codes (authzstore.MaxFailedInARow); its terminals are sent
// verification_at_risk after the fourth, and verification_locked then. An entry by
// anybody else, and one for a challenge that is unknown or over, burns the sender's own
// budget and is compared with nobody's secret.
//
// # Evidence
//
// A secret field is shown to the kind of evidence that the route says it is; the
// policy sees what was found out (`input.evidence`), never the secret. Evidence
// that was shown is spent, whatever comes of the call: an allow uses up what
// matched, every other answer burns an attempt; but where nothing was decided for want of
// time or of the store, what matched burns none. Evidence may also be used up by
// whatever it is evaluated for, as a payment code is: then it has paid with itself,
// and stays used. Whose attempt is burnt depends on who
// sent it: the thing's own only if it came from the sender that the thing
// expects, otherwise the sender's. So strangers who guess lock themselves out and
// nobody else, and learn nothing from it: the answers are alike.
//
// Evidence that comes when no attempt is left is not looked at, and costs nothing. If its
// call is denied, the policy's notify effects are not carried out, so that such calls
// cannot use up the messages that a terminal may be sent.
//
// A step-up uses up what matched, as an allow does: the call that is repeated for the
// challenge's sake shows it again, and it matches (`matched_when_asked`), although it may have
// aged since. Nothing passes by that alone: an allow needs the challenge satisfied.
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
//   - a challenge on an allow, two of them, or one without the facts that it needs; for a
//     terminal that the call does not lead to, or that is not bound to the account; of
//     codes, while those of the account are locked;
//   - an allow under a key that was asked for a challenge, which is not satisfied;
//   - an intent that is opened on a denial, twice, or without the facts that it needs;
//     one that is advanced though the call does not lead to it, or from a state that it
//     is not in;
//   - a message to a terminal that the call does not lead to, or that is unbound;
//   - a reservation that the store refuses: over a limit of the account or the grant,
//     of a frozen account, by a grant that is not active or not valid now;
//   - an allow of a built-in operation that the store refuses: in the wrong state,
//     about what there is not. Where what the call itself asks for is at fault, it is a
//     denial (422), and where parameters were fetched before (409);
//   - an allow though evidence was shown that did not match;
//   - an effect that is not known here;
//   - an error, or a verdict that is not exactly a decision (package policy).
package decide
