package badgerkv

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/countersign/countersign/authzstore/kv/disk"
)

// Options of Open. The zero value of every field but Dir is its default.
type Options struct {
	// Dir holds everything: journal/, state/, backup/ and the lock file. It is
	// made if it is missing.
	Dir string

	// MaxPendingBytes bounds what is published and not yet durable. Default
	// 32 MiB: over a second of work at the highest rate measured.
	MaxPendingBytes int64
	// MaxUnappliedBytes bounds what is durable and not yet in Badger. Default
	// 16 MiB as counted, which is about 80 MiB of heap: a map entry of 100
	// counted bytes took 500. What a start replayed comes on top of it.
	MaxUnappliedBytes int64
	// MinFreeBytes: below so much free disk Badger is left alone, because it
	// writes through memory maps, where a full disk is a SIGBUS. Default ten
	// memtables. Negative: no guard.
	MinFreeBytes int64
	// BallastBytes is the size of a file that is given up when the disk runs
	// full under a running Badger, whose flushes then still have room. Default
	// 64 MiB. Negative: none.
	BallastBytes int64

	// VerifyEvery is the pause between background checks of all of Badger's
	// tables and the whole journal. Default 6 h. Negative: never.
	VerifyEvery time.Duration

	Logger *slog.Logger     // default: nothing is logged
	Now    func() time.Time // default time.Now; stamps segments

	// Of the package's tests alone.
	fs           disk.FileSystem // nil: the real one
	segmentBytes int64           // to which journal segments grow; 0: maxSegmentBytes
	faults       faults
}

// faults are the controls of the fault tests: each takes one guarantee away, so
// that a test can show that it would notice.
type faults struct {
	// ackBeforeWrite answers writers before the journal is written.
	ackBeforeWrite bool
	// trustTables does not verify Badger's tables at open.
	trustTables bool
	// trustWAL does not delete Badger's write-ahead logs at open.
	trustWAL bool
	// trustJournal cuts the journal at the first unreadable record, whatever
	// the reason.
	trustJournal bool
	// keepTorn does not wipe what a torn write left.
	keepTorn bool
	// apply runs before every Badger transaction; its error is the
	// transaction's.
	apply func() error
}

func (o Options) withDefaults() Options {
	o.segmentBytes = cmp.Or(o.segmentBytes, maxSegmentBytes)
	o.MaxPendingBytes = cmp.Or(o.MaxPendingBytes, 32<<20)
	o.MaxUnappliedBytes = cmp.Or(o.MaxUnappliedBytes, 16<<20)
	o.MinFreeBytes = cmp.Or(o.MinFreeBytes, 10*memTableBytes)
	o.BallastBytes = cmp.Or(o.BallastBytes, 64<<20)
	o.VerifyEvery = cmp.Or(o.VerifyEvery, 6*time.Hour)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.fs = cmp.Or(o.fs, disk.FileSystem(disk.OS{}))
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// maxWaiters bounds the transactions that wait for one record, without the urgent
// ones.
const maxWaiters = 256

// memTableBytes is the size of Badger's memtables. Against 64 MiB it cost −13 to
// +16 % (noise) and saves a third of the memory; 8 MiB cost 6–16 %, and not every
// batch would fit a transaction of Badger.
const memTableBytes = 16 << 20

// maxReplayBytes bounds what a start after a crash has to read of the journal, and
// so how long it takes: 14 to 21 ms a MiB, all of opening included, measured on two
// slow and busy cores with 41 MiB. It is what Badger's synced tables do not hold yet,
// counted in bytes of batches; past it updates are refused. Of three memtables one is
// filled while another one is flushed, and then there is room left for a disk that
// takes its time.
const maxReplayBytes = 3 * memTableBytes

// badgerOptions are the settings that the measurements favoured. Badger itself keeps
// one version of a key (snapshots hold what they need by themselves) and all indices
// in memory (small, and no eviction stalls), and does not compact when it is closed.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(false).      // the journal is the truth; syncing here bought nothing (0.9–1.0x)
		WithDetectConflicts(false). // one goroutine writes
		WithMemTableSize(memTableBytes).
		WithNumMemtables(2).
		WithCompression(options.None). // 5.6 µs a read instead of 9.9, for 173 MB instead of 112 per million keys
		WithBlockCacheSize(0).         // without compression the page cache serves
		WithValueThreshold(1 << 20).   // above any value, so that the value log, whose sync errors Badger only logs, stays empty
		WithValueLogFileSize(1 << 20). // the default maps 2 GiB of sparse file; the smallest
		WithNumCompactors(2).          // one is refused
		WithBypassLockGuard(true).     // ours is held longer; a process forked meanwhile would hold Badger's
		WithMetricsEnabled(false).
		WithLogger(badgerLog{log})
}

// badgerLog keeps Badger's warnings and errors, without keys and values.
type badgerLog struct{ l *slog.Logger }

func (b badgerLog) Errorf(f string, a ...any)   { b.l.Error("badger", "detail", withoutValues(f, a)) }
func (b badgerLog) Warningf(f string, a ...any) { b.l.Warn("badger", "detail", withoutValues(f, a)) }
func (b badgerLog) Infof(string, ...any)        {}
func (b badgerLog) Debugf(string, ...any)       {}

// withoutValues is a message with its numbers and errors. Whatever else Badger has
// to say may be a key or a value: the messages about compactions and iterators are.
func withoutValues(format string, args []any) string {
	safe := slices.Clone(args)
	for i, arg := range args {
		switch arg.(type) {
		case error, bool, int, int32, int64, uint16, uint32, uint64:
		default:
			safe[i] = notLogged{}
		}
	}
	return strings.TrimSpace(fmt.Sprintf(format, safe...))
}

// notLogged prints alike for every verb.
type notLogged struct{}

func (notLogged) Format(s fmt.State, _ rune) { io.WriteString(s, "[not logged]") }
