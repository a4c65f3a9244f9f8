package badgerkv

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/countersign/countersign/authzstore/kv"
)

const doRebuild = "the journal is the truth and this is only derived from it: move the directory state away and start again, then it is made anew from the journal"

const doRestart = "restart: a damaged state is rebuilt from the journal"

// state is Badger: the applied batches and the index of their entries. One
// goroutine applies; any may read and write other keys.
type state struct {
	db       *badger.DB
	maxCost  int64 // of one transaction
	coverage coverage

	// Of the goroutine that applies.
	bodies int64 // bytes of those applied since Open
	owed   int64 // of them, what memtables were not filled with (keepUp)
}

// applied says up to where the state has the journal.
type applied struct {
	Format uint16
	Store  [16]byte // whose journal
	kv.Pos
}

const (
	keyApplied   = nsMeta + "applied"
	appliedMagic = "CSAP"
	appliedBytes = 66
)

// openState prepares the directory and opens Badger. ErrDamaged means that the
// state has to be rebuilt.
func openState(dir string, o Options) (s *state, err error) {
	if err := cleanState(dir, o); err != nil {
		return nil, err
	}
	if !o.faults.trustTables {
		if err := verifyTables(dir); err != nil {
			return nil, err
		}
	}
	defer asDamage(&err, dir, doRebuild)
	db, err := badger.Open(badgerOptions(dir, o.Logger))
	if err != nil {
		return nil, err
	}
	return &state{db: db, maxCost: db.MaxBatchSize()*9/10 - 4096}, nil
}

// cleanState removes what Badger must not see. Its write-ahead logs are not
// synced: after a power loss a newer one may be there and an older one not, and
// Badger would replay over the hole. Its tables are synced, in order: without
// the logs the state is exactly some prefix of the journal. Its value log holds
// nothing, as no value reaches the threshold.
func cleanState(dir string, o Options) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		scrap := strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".vlog") || name == "DISCARD"
		if scrap && !o.faults.trustWAL {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}

// verifyTables checks every table before Badger opens them: later it swallows
// checksum errors (a damaged block reads as "not found"), and some damage
// crashes it in goroutines of its own. Only tables in the manifest are part of the
// state: a kill while Badger flushes or compacts leaves others, cut short, which it
// removes.
func verifyTables(dir string) error {
	name := filepath.Join(dir, badger.ManifestFilename)
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if len(tables) > 0 { // Badger would open empty and delete them
			err = &kv.DamageError{File: name, Offset: -1, What: "missing, but there are tables", Do: doRebuild}
		}
		return err
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badgerOptions(dir, nil))
	if err != nil {
		return fmt.Errorf("%w: %s: %w; %s", kv.ErrDamaged, name, err, doRebuild)
	}
	for id := range manifest.Tables {
		if err := verifyTable(table.NewFilename(id, dir)); err != nil {
			return err
		}
	}
	return nil
}

func verifyTable(name string) (err error) {
	defer asDamage(&err, name, doRebuild)
	f, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close(-1)
	t, err := table.OpenTable(f, table.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}

// verify checks the tables of the open Badger.
func (s *state) verify() (err error) {
	defer asDamage(&err, s.db.Opts().Dir, doRestart)
	return s.db.VerifyChecksum()
}

// readApplied returns the zero value for a state that holds nothing.
func (s *state) readApplied() (a applied, err error) {
	p := s.read()
	defer p.txn.Discard()
	b, ok, err := p.get(keyApplied)
	if err != nil || !ok {
		return a, err
	}
	if len(b) != appliedBytes || !decodeHeader(b, appliedMagic, &a) {
		return a, fmt.Errorf("%w: the state's record of what it holds; %s", kv.ErrDamaged, doRebuild)
	}
	if a.Format != formatVersion {
		return a, fmt.Errorf("the state has format %d, this program knows %d: start a newer program", a.Format, formatVersion)
	}
	return a, nil
}

// apply brings batches into Badger, and says up to where it has the journal now.
// Of a key that comes again only the last value is written.
func (s *state) apply(store [16]byte, batches []*batch) error {
	values, bodies := map[string][]byte{}, int64(0)
	for _, b := range batches {
		maps.Copy(values, b.state)
		bodies += b.bodyBytes
	}
	last, at := batches[len(batches)-1].head, make([]byte, appliedBytes)
	encodeHeader(at, appliedMagic, applied{formatVersion, store, last.Pos()})
	values[keyApplied] = at
	took, err := s.write(values)
	if err != nil {
		return err
	}
	s.bodies += bodies
	s.mark(last.Seq)
	return s.keepUp(bodies, took)
}

// write puts values (nil: deleted) into Badger in one transaction, and returns
// how much of a memtable they take at least.
func (s *state) write(values map[string][]byte) (took int64, err error) {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for k, v := range values {
		if v == nil {
			err = txn.Delete([]byte(k))
		} else {
			err = txn.Set([]byte(k), v)
		}
		if err != nil {
			return 0, fmt.Errorf("badger: %w", err)
		}
		took += memTableKeyBytes + int64(len(k)+len(v))
	}
	return took, txn.Commit()
}

// snapshot is a shared read transaction. Badger's own way, one per reader,
// blocks while a commit is in flight (measured: a third of the throughput).
type snapshot struct {
	txn  *badger.Txn
	refs int // readers, and the store while it is the newest; guarded by Store.mu
}

func (s *state) read() *snapshot { return &snapshot{txn: s.db.NewTransaction(false), refs: 1} }

// get returns a copy.
func (p *snapshot) get(key string) (val []byte, ok bool, err error) {
	defer asDamage(&err, "state", doRestart)
	item, err := p.txn.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err == nil {
		val, err = item.ValueCopy(nil)
	}
	return val, err == nil, err
}

// scan calls fn for each key with the prefix that is ≥ from, in order, with a copy
// of the value, until fn returns an error.
func (p *snapshot) scan(prefix, from string, fn func(key string, val []byte) error) error {
	opts := badger.DefaultIteratorOptions
	opts.Prefix = []byte(prefix)
	it := p.txn.NewIterator(opts)
	defer it.Close()
	for it.Seek([]byte(max(prefix, from))); it.Valid(); it.Next() {
		val, err := it.Item().ValueCopy(nil)
		if err == nil {
			err = fn(string(it.Item().Key()), val)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// asDamage makes damage of what Badger says: of an error, and of a panic, which is
// how it meets some damaged blocks.
func asDamage(err *error, file, do string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic of Badger: %.200v", p)
	}
	if *err != nil {
		*err = &kv.DamageError{File: file, Offset: -1, What: (*err).Error(), Do: do}
	}
}
