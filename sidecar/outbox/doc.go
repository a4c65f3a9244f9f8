// Package outbox delivers messages to terminals: by webhook, as a stream of events,
// and to a log for trying things out. Messages are written by the transaction of
// the decision that they are about (authzstore.Tx.Send); everything here happens
// afterwards, from what is durable.
//
// Each terminal gets its messages in order and at least once, and a message that
// comes again has the same ID. [Renderer] is the one place where a code is derived for
// delivery. A message is for the terminal as it was bound when it was written, until
// it expires: nothing goes to one that is frozen or unbound, nor to one that was bound
// anew.
//
// A webhook (https://www.standardwebhooks.com) goes to a [Receiver], a host that the
// operator has named. One message of a terminal is under way at a time, and a bounded
// number for a receiver: one that hangs slows nobody but its own terminals. What is
// not taken is tried again ([Backoff]), until the message expires or was tried too
// often; then it is a dead letter, which operators see.
package outbox
