// Package badgerkv is the embedded backend of kv: an own journal that is the
// truth, and Badger behind it as applied state and index. One process owns a
// directory.
//
// # The way of one Update
//
// Update takes the locks of its records (package locks) and runs the closure
// (package txn). What it wrote becomes a unit, which is published under one mutex
// (publish.go): it joins the current batch, counters get their sums and stream
// entries their numbers, and the overlay shows them to the transactions that
// follow. The locks are released there, before anything is on disk. One
// goroutine (commit.go) takes batch after batch, waits a little for company
// (gather.go), and writes each with one synchronous write (journal.go). Then
// everyone who waits for the batch is answered. A second goroutine (apply.go)
// brings durable batches into Badger, many at a time. A transaction reads its
// own writes, then the overlay, then Badger; a View reads the durable batches
// that Badger does not hold yet, then Badger (snap.go).
//
// # Why it is safe
//
//   - Nothing is told that a crash could take back. A writer is answered after
//     its batch's write returned, and batches are written in order; a reader
//     that saw an undurable value waits for the batch it came with.
//   - Nothing acknowledged is written again: each record starts on a page of its
//     own, in a file whose header and zeros were written and synced before
//     (spare.go), so a write changes no metadata and touches no earlier sector.
//   - One write is in flight, so a crash tears at most the last record, and a
//     torn record still has sectors with the zeros of before. That tells a torn
//     write, which nobody was told of and which is wiped, from a damaged one,
//     which is refused (torn.go). Records count the sectors that are zero by
//     content, and padding is not zero, to keep that decidable.
//   - Records are hash-chained (package chain), and Badger's state names the record that it
//     holds up to, by its hash. So a journal that lost its end, was rolled back or belongs to
//     another store is refused (open.go, cursor.go).
//   - Badger is never trusted with durability. It runs without syncs, and its
//     write-ahead logs are deleted before it is opened: after a power loss a
//     newer one may have survived an older, and Badger would replay over the
//     hole. Its tables are synced, in order and each before it counts, so what
//     is left is a prefix of the journal, and the journal's rest is replayed
//     (replay.go). How long that rest may get is bounded (cover.go).
//   - Badger is never trusted to notice damage. It takes a block with a wrong
//     checksum for an absence. All tables are verified before it opens them, and
//     now and then later (verify.go). A damaged state is thrown away and made
//     again from the journal.
//   - A sync that failed is not repeated: the pages may be marked clean. The
//     store stops, writers are told "unknown", and the next Open reads what is
//     there, and writes the last record again before anything is built on it.
//   - A full disk is met before it is full: the next segment exists before it is
//     needed, and Badger, which would die of SIGBUS, is left alone below a limit
//     (disk.Guard). Updates go on until the bounds of memory, then they are
//     refused, urgent ones last; the journal holds everything.
//   - Journal segments go only when a state backup that was read back covers
//     them, and Badger's tables do too (prune.go). A backup has the form of a
//     segment, and so the same checks (backup.go).
//
// What it does not protect from: a disk that acknowledges what it did not write,
// beyond the last record, and a volume that was rolled back as a whole. For both
// Tail exports the chain: a kv.Pos kept elsewhere proves a loss.
//
// # Files
//
//	countersign.lock   held for life; taken before anything is read
//	journal/N.seg      the truth (format.go, chain.Unit)
//	state/             Badger; may be deleted while the store is closed
//	state.old/         one that is being thrown away
//	backup/SEQ.seg     the newest state backup, once something was pruned
//	*/unfinished.tmp   a segment or backup while it is made
//	ballast            given up when the disk runs full
package badgerkv
