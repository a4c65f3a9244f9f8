// Package authzstore holds the nouns of payment authorisation and the
// invariants between them, typed, written once over the storage contract kv.
//
// # Nouns
//
// An [Account] is whose money pays: it has an owner (an [Identity]), a currency,
// a state and the most it may spend in one payment. Balances are the payment
// service's business, not ours.
//
// # Rules of representation
//
//   - Money is an int64 count of minor units of an ISO 4217 currency, from 1 to
//     2^53−1 ([MaxAmountMinor]), so that every JSON and Rego reader holds it
//     exactly.
//   - An ID is opaque, prefixed by its kind (acc_…), of at most 64 characters.
//   - A stored value starts with the version of its form; a version or a field
//     that this program does not know is refused, never dropped.
//   - A noun is checked when it is written and when it is read; one that breaks a
//     rule in the store is damaged.
package authzstore
