// Package kv is the storage contract of Countersign: closure transactions over
// small binary records, whose touched records are all declared before they
// start. It imports nothing of the project. Read this page before writing a
// backend; kvtest.Run then says whether the backend keeps the contract.
//
// # Three kinds of keys
//
// Whoever picks the kind of a key picks its contention.
//
//   - A record is read and written under a lock. Every record that a
//     transaction touches stands in its refs: Shared if it is only read,
//     Exclusive if it may be written. A record made new is declared too; its
//     ID is drawn before Update.
//   - A counter is added to without a lock. Sums are merged when the
//     transaction is published, so any number of transactions add at once and
//     none is lost. A counter read in a transaction is the sum at that moment:
//     true then, perhaps not at publication. A counter at zero does not exist.
//   - A stream is appended to without a lock. Its entries are numbered 1, 2,
//     3 … at publication, without gaps, and found again by number or by ID.
//
// The three do not share names: record "a", counter "a" and stream "a" are
// three things.
//
// # What Update promises
//
// Update takes the locks in key order, runs the closure, publishes what it
// wrote as one unit, releases the locks, and only then waits until that unit,
// and everything that the closure read, is durable. So a hot record is held for
// the time of the closure, not of the disk, and still nobody is told anything
// that a crash could take back: a closure that wrote nothing and failed because
// of what it read (a denial) waits for those facts too.
//
//   - nil: written and durable.
//   - the closure's own error: nothing written; what it read is durable.
//   - ErrUnknown: written or not, or will be. Never a "no".
//   - anything else: nothing written. That includes ctx.Err() (given up while
//     waiting for a lock, or for the facts behind a denial) and every other
//     error of this package.
//
// Transactions appear to run one after another, in an order that respects real
// time (linearizable); each sees all or nothing of the others' records.
// Counters and streams take part in atomicity and order, not in isolation: a
// sum read may be old when the transaction is published, and a closure does not
// see its own entries.
//
// The closure is a function of tx and of what it captured. It has no effects
// outside tx, because a backend may run it again before it commits (PostgreSQL
// after a serialization failure; badgerkv runs it exactly once). It calls no
// method of the Store: a nested Update may wait for the outer one's locks
// until its context ends. If it panics, nothing is written, the locks are
// released, and the panic goes on to Update's caller.
//
// # Fairness, bounds and failure
//
// Locks are granted first come, first served, urgent Updates before the others, shared
// ones side by side. Each
// record has a bound on waiters, and the store a bound on what waits for the
// disk; past either, Update returns ErrOverloaded at once and nothing happened.
// Urgent Updates (see Urgent) stand outside the first and have a little room kept
// back in the second, so that an operator can freeze an account on which the
// payments queue up.
//
// A failed commit stops the store for good: after it the disk's content is
// unknown, so nothing may be built on it. Failed is closed, waiting writers get
// ErrUnknown, readers and later calls ErrFailed. The process restarts and opens
// the store again, which finds out.
//
// # The chain
//
// Every backend keeps the published units in order as batches, each hashed over
// the one before: leaf = SHA-256(0x00 ‖ unit), digest = the root of the binary
// Merkle tree of the leaves (RFC 6962), hash = SHA-256(seq ‖ prev ‖ digest),
// seq as 8 bytes big endian. Tail hands them out for export, audit and a
// standby: durable ones only. A Pos that was once seen proves later that
// history was neither cut nor changed.
//
// # What backends share
//
// The packages below this one that are no backend: locks has the locks of
// records, txn runs closures and holds them to refs and limits, chain has units
// as bytes and their hashes, disk what a backend with files needs of a disk.
package kv
