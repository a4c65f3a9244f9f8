package badgerkv

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// A state backup stands in for the journal segments that it covers: the state can
// be made again from it and the segments kept. It is a segment file, numbered by
// the batch up to which it has the state, with a chain of its own: each record
// has one unit, whose records are keys and values as they stand in Badger, what is
// applied (keyApplied) last.

const (
	doBackup       = "put a good state backup, or the pruned journal segments, back; nothing was changed"
	backupUnitCost = 1 << 20 // fits a batch, and a transaction of Badger
)

// usableBackup returns the newest good backup that the kept segments continue.
func (r *recoverer) usableBackup() (seq uint64, err error) {
	seqs, err := listSegments(r.backups.dir)
	for _, seq := range slices.Backward(seqs) {
		if seq < r.before.Seq {
			break
		}
		bad := r.backups.checkBackup(r.ctx, seq)
		if bad == nil {
			return seq, nil
		}
		err = errors.Join(err, bad)
	}
	return 0, errors.Join(err, r.backups.damage(place{}, r.at.Seq,
		"the state cannot be rebuilt: the journal starts after %d and no good state backup reaches it", r.before.Seq))
}

// writeBackup makes a backup of a snapshot, which holds batches up to seq, and
// reads it back. It has its name only after Badger's tables were found good: they
// would be copied with their damage.
func (s *Store) writeBackup(ctx context.Context, seq uint64, p *snapshot) error {
	err := s.backups.make(seq, func(f disk.File) error {
		w := &backupWriter{f: f, end: pageBytes, goOn: func() error { return s.mayWrite(ctx) }}
		if err := w.writeAll(p); err != nil {
			return err
		}
		if err := s.state.verify(); err != nil {
			return s.fail(err) // it may have answered wrongly
		}
		page := make([]byte, pageBytes)
		encodeSegHeader(page, seq, s.backups.store, w.end)
		_, err := f.WriteAt(page, 0)
		return err
	})
	if err != nil {
		return err
	}
	return s.backups.checkBackup(ctx, seq)
}

// mayWrite says whether pruning may go on to fill the disk.
func (s *Store) mayWrite(ctx context.Context) error {
	return cmp.Or(ctx.Err(), s.guard.Check())
}

type backupWriter struct {
	goOn    func() error // asked before each write
	f       disk.File
	end     int64
	head    chain.Link
	records []kv.Write
	cost    int64
}

func (w *backupWriter) writeAll(p *snapshot) error {
	err := p.scan("", "", func(key string, val []byte) error {
		if key == keyApplied || key == keyPad {
			return nil
		}
		w.records = append(w.records, kv.Write{Key: key, Val: val})
		if w.cost += keyCost + int64(len(key)+len(val)); w.cost < backupUnitCost {
			return nil
		}
		return w.flush()
	})
	if err != nil {
		return err
	}
	at, _, err := p.get(keyApplied)
	if err != nil {
		return err
	}
	w.records = append(w.records, kv.Write{Key: keyApplied, Val: at})
	return w.flush()
}

func (w *backupWriter) flush() error {
	if err := w.goOn(); err != nil {
		return err
	}
	u := &chain.Unit{Unit: kv.Unit{Records: w.records}}
	u.Seal()
	w.head = w.head.Next(u.Leaf)
	b := make([]byte, recordExtent(int64(len(u.Bytes))))
	encodeRecord(b, w.head, []*chain.Unit{u}, 0)
	_, err := w.f.WriteAt(b, w.end)
	w.end += int64(len(b))
	w.records, w.cost = nil, 0
	return err
}

// checkBackup reads the whole file.
func (d *segments) checkBackup(ctx context.Context, seq uint64) error {
	return d.readBackup(ctx, seq, func(map[string][]byte) error { return nil })
}

// readBackup hands out every key with its value, at most a transaction of Badger
// at a time, and checks the whole file.
func (d *segments) readBackup(ctx context.Context, seq uint64, fn func(values map[string][]byte) error) error {
	c := &cursor{d: d, at: place{seq, 0}, last: seq}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := c.nextBatch()
		if err != nil {
			return err
		}
		values := map[string][]byte{}
		for _, u := range b.Units {
			for _, w := range u.Records {
				values[w.Key] = w.Val
			}
		}
		if err := fn(values); err != nil {
			return err
		}
		if _, last := values[keyApplied]; last {
			return nil
		}
	}
}
