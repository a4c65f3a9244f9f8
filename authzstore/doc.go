// Package authzstore holds the nouns of payment authorisation and the
// invariants between them, typed, written once over the storage contract kv.
//
// # Nouns
//
// An [Account] is whose money pays: it has an owner (an [Identity]), a currency,
// a state, the most it may spend in one payment, and [Limit]s on what it spends
// in all. Balances are the payment service's business, not ours.
//
// A [Reservation] is money that an allowed payment may take. It is pending until
// the payment service says what became of it: posted, in full or in part, or
// voided; unknown where nobody can say, and then it still counts. [Usage] is the
// sum of an account's reservations, limit by limit.
//
// A [Use] marks something that works once: a code, a challenge. A [KeyedCall]
// remembers what became of the calls under an idempotency key. [Attempts] count
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
//   - [Tx.UseOnce]: nothing is used twice.
//   - [Tx.ReserveWithinLimits]: pending and posted together never exceed a limit
//     in force at that moment; a frozen account reserves nothing.
//   - [Tx.Post], [Tx.Void], [Tx.MarkUnknown]: a reservation resolves once. A void
//     gives back exactly what was reserved; nothing else gives anything back but
//     a partial post, its rest.
//   - [Tx.AnswerOnce]: a key has one call and one final answer; another call
//     under it is refused.
//   - [Tx.BurnAttempt]: attempts only grow within their window.
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
//   - An ID is opaque, prefixed by its kind (acc_…, rsv_…), of at most 64
//     characters; random ones hold 130 bits ([NewID]).
//   - A stored value is one byte of version, the time of its last write, and CBOR
//     (RFC 8949) with integer keys. A version or a field that this program does
//     not know is refused, never dropped.
package authzstore
