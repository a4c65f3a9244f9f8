// Package authzstore holds the nouns of payment authorisation and the
// invariants between them, typed, written once over the storage contract kv.
//
// # Nouns
//
// An [Account] is whose money pays: it has an owner (an [Identity]), a currency,
// a state, the most it may spend in one payment, and [Limit]s on what it spends,
// ever or in a [Period]. Balances are the payment service's business, not ours.
//
// A [Grant] lets a second user, the delegate, pay from an account within [Terms].
// It is offered by the owner, becomes active when the delegate accepts it, and
// can be frozen, and then revoked by the one or ended by the other; it is never
// active again after that. A [Credential] is what the delegate's device makes
// payment codes from: an accepted grant has one in force, or none after its terms
// were changed. [Delegates] are the open grants from one account.
//
// A [Merchant] is who is paid by a grant, and by which identities it calls. A
// [Terminal] is a device bound to an account, and has an identity of its own;
// [AccountTerminals] are those of one account that are not unbound. An [APIToken]
// lets a backend or an operator call the control API.
//
// A [Challenge] asks the people of an account to prove that they want one call, by
// codes that were sent to its terminals or by the approval of one of them. It is
// open until it is satisfied, and then the call consumes it; or it is locked by wrong
// codes, rejected, or replaced by another one. [Entry] is what is kept of a code that
// was entered, and a [Condition] what the entries must be like. An [Initiator] is what
// one caller has asked of one account, [Verification] whether an account can be asked
// for codes at all, and [StoredCodes] are codes that were agreed in advance.
//
// An [Intent] is a request that waits for more: an order, a proxied business, a
// checkout. Its states are the policy's; what it is for, and its steps so far, stay.
// [OpenIntents] are those of an account that are not closed.
//
// The initiator of a challenge made the call that it is for, that of an intent opened it.
// They can be two, for an agent may call about what a user has opened: the requester, whom
// messages name as who asked, is the initiator of the intent, or of the call where there
// is none.
//
// A [Message] goes to one terminal. It names the code that it brings and does not
// hold it. A [Mailbox] counts what a terminal was sent, a [Delivery] says how far that
// was delivered.
//
// A [Reservation] is money that an allowed payment may take. It is pending until
// the payment service says what became of it: posted, in full or in part, or
// voided; unknown where nobody can say, as past its expiry, and then it still
// counts. What was posted can be refunded. [Usage] is the sum of the reservations
// of an account or a grant, since it exists and period by period.
//
// A [Use] marks something that works once, or once at each step, such as a payment
// code. A [KeyedCall] remembers what became of the calls under an idempotency key. [Attempts] count
// the wrong answers that burnt one budget.
//
// A [Record] says who did what and what it changed: one for every decision and
// one for every change by an operator.
//
// # Invariants
//
// Nouns are written by setters of [Tx] alone, and each setter is named for what
// it holds:
//
//   - [Tx.UseOnce], [Tx.UseStep]: nothing is used twice, and steps only grow.
//   - [Tx.ReserveWithinLimits]: pending and posted together never exceed a limit
//     of the account or the grant that is in force at that moment, in the period
//     that holds it; a frozen account and a grant that is not active, not valid
//     yet or not any more reserve nothing.
//   - [Tx.Post], [Tx.Void], [Tx.MarkUnknown], [Tx.Expire]: a reservation resolves
//     once. A void gives back exactly what was reserved, in exactly the periods in
//     which it counted. Nothing else gives anything back but a partial post, its
//     rest, and [Tx.Refund], under the grant's limits and if its terms said so.
//   - [Tx.OfferGrant], [Tx.AcceptGrant], [Tx.DeclineGrant], [Tx.FreezeGrant],
//     [Tx.UnfreezeGrant], [Tx.RevokeGrant], [Tx.EndGrant]: a grant takes no other
//     way, nobody is their own delegate, and an account has at most [MaxDelegates].
//   - [Tx.ChangeGrant]: a grant keeps its currency, a limit its period; what
//     allowed less before a raise, or wanted approvals, stays known ([Raise]); old
//     codes end.
//   - [Tx.IssueCredential]: a grant has at most one credential in force. A handle is
//     never given twice.
//   - [Tx.MarkParametersFetched]: the parameters of a credential are fetched by one decision.
//   - [Tx.PutMerchant]: an identity calls for one merchant, through one channel.
//   - [Tx.AnswerOnce]: a key has one call and one final answer; another call
//     under it is refused.
//   - [Tx.BurnAttempt]: attempts only grow within their window. [Tx.Count]: a
//     counter of everybody's failures is only added to.
//   - [Tx.PutAccount], [Tx.FreezeAccount], [Tx.UnfreezeAccount]: an account keeps when
//     it was created, from which its periods count.
//   - [Tx.PutTerminal]: a terminal says since when it is bound as it is. An identity
//     acts for one terminal that is not unbound, and an account has at most
//     [MaxTerminals] of those, listed in the order in which they were bound.
//   - [Tx.IssueChallenge], [Tx.AddEntry], [Tx.SatisfyChallenge], [Tx.FailChallenge],
//     [Tx.RejectChallenge], [Tx.ReplaceChallenge], [Tx.ConsumeChallenge]: a challenge
//     takes no other way. It is consumed once; no more sets of codes fail than it has
//     attempts; no set satisfies it that lacks the code of a terminal, nor any answer
//     when one of its terminals was unbound, frozen or bound anew since its issue.
//     An initiator starts at most [MaxStarts] of them at an account within
//     [StartsWindow].
//   - [Tx.FailChallenge], [Tx.UnlockVerification]: [MaxFailedInARow] sets of codes that
//     fail in a row, of whatever challenges and without a right one in between, lock the
//     codes of the account until somebody unlocks them.
//   - [Tx.AddStoredCode]: a terminal has at most one stored code, an account
//     [MaxStoredCodes] that work, and their numbers never come again, so that
//     [Tx.UseStep] uses each up once.
//   - [Tx.OpenIntent], [Tx.AdvanceIntent]: an intent leaves a state once, for one other,
//     with when, by whom and by which record; past its expiry it is only closed, and
//     then it stays closed. A party is named once. An account has at most
//     [MaxOpenIntents] that are open.
//   - [Tx.Send]: messages of a terminal are numbered without gaps, at most
//     [MaxMessagesPerHour]. [Tx.AckMessages], [Tx.BuryMessage]: what was delivered only
//     grows. [Store.Prune]: no message goes within [MaxMessageLife].
//   - [Tx.AddAPIToken], [Tx.RevokeAPIToken]: a token that was revoked never works again.
//   - [Store.Update]: every write belongs to one record, which holds the value
//     before and after; it is written with them or not at all.
//   - [Tx.Now] never runs backwards inside a noun, whatever the clock does.
//
// [Store.Verify] checks what can be checked afterwards.
//
// # Rules of representation
//
//   - Money is an int64 count of minor units of an ISO 4217 currency, from 1 to
//     2^53−1 ([MaxAmountMinor]), so that every JSON and Rego reader holds it
//     exactly.
//   - Time is an int64 count of nanoseconds since 1970-01-01 UTC.
//   - Bounds are inclusive: a payment that fills a limit exactly passes, and so does
//     one at the very last instant. A period holds its start and not its end.
//   - An ID is opaque, prefixed by its kind (acc_…, rsv_…), of at most 64
//     characters; random ones hold 130 bits ([NewID]).
//   - A stored value is one byte of version, the time of its last write, and CBOR
//     (RFC 8949) with integer keys. A version or a field that this program does
//     not know is refused, never dropped.
package authzstore
