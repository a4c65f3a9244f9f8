package badgerkv

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/countersign/countersign/authzstore/kv"
)

// A state backup stands in for the journal segments that it covers: state can be
// rebuilt from it and the segments kept. File backup/<seq>.state, big endian:
//
//	"CSBK" | format 2 | store id 16 | { key bytes 4 | value bytes 4 | key | value }… |
//	0xFFFFFFFF | count 8 | SHA-256 of all before 32
//
// The keys are those in Badger, with the record of what is applied.
type backup struct {
	fs    fileSystem
	name  string
	seq   uint64
	store [16]byte
}

const (
	backupEnd    = 0xFFFFFFFF
	backupSuffix = ".state"
	doBackup     = "put a good state backup, or the pruned journal segments, back; nothing was changed"
)

var backupMagic = []byte("CSBK")

// listBackups returns the sequence numbers of the backups, newest first.
func listBackups(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), backupSuffix)
		if n, err := strconv.ParseUint(name, 10, 64); ok && err == nil {
			seqs = append(seqs, n)
		}
	}
	slices.SortFunc(seqs, func(a, b uint64) int { return cmp.Compare(b, a) })
	return seqs, nil
}

func openBackup(fs fileSystem, dir string, seq uint64, store [16]byte) backup {
	return backup{fs: fs, name: filepath.Join(dir, fmt.Sprintf("%020d%s", seq, backupSuffix)), seq: seq, store: store}
}

// usableBackup returns the newest good backup that the kept segments continue.
func (r *recoverer) usableBackup() (backup, error) {
	seqs, err := listBackups(r.dir("backup"))
	if err != nil {
		return backup{}, err
	}
	var bad []error
	for _, seq := range seqs {
		if seq < r.before.seq {
			break
		}
		b := openBackup(r.o.fs, r.dir("backup"), seq, r.journal.store)
		if err := b.read(r.ctx, func(k, v []byte) error { return nil }); err != nil {
			bad = append(bad, err)
			continue
		}
		return b, nil
	}
	return backup{}, errors.Join(append(bad, &kv.DamageError{
		File: r.dir("backup"), Offset: -1, Seq: r.at.pos.Seq, Do: doBackup,
		What: fmt.Sprintf("the state cannot be rebuilt: the journal starts after %d and no good state backup reaches it", r.before.seq),
	})...)
}

// write makes a backup of a snapshot and reads it back.
func (b backup) write(ctx context.Context, p *snapshot) error {
	tmp := b.name + ".tmp"
	f, err := b.fs.Create(tmp)
	if err != nil {
		return err
	}
	err = errors.Join(b.encode(ctx, io.NewOffsetWriter(f, 0), p), f.Sync(), f.Close())
	if err == nil {
		err = backup{b.fs, tmp, b.seq, b.store}.read(ctx, func(k, v []byte) error { return nil })
	}
	if err == nil {
		err = b.fs.Rename(tmp, b.name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("state backup: %w", err), b.fs.Remove(tmp))
	}
	return b.fs.SyncDir(filepath.Dir(b.name))
}

func (b backup) encode(ctx context.Context, to io.Writer, p *snapshot) error {
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(to, sum), 256<<10)
	head := binary.BigEndian.AppendUint16(bytes.Clone(backupMagic), formatVersion)
	w.Write(append(head, b.store[:]...)) // an error of w sticks until Flush
	it := p.txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	var lens [8]byte
	count := uint64(0)
	for it.Rewind(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := it.Item().Key()
		err := it.Item().Value(func(val []byte) error {
			binary.BigEndian.PutUint32(lens[:], uint32(len(key)))
			binary.BigEndian.PutUint32(lens[4:], uint32(len(val)))
			w.Write(lens[:])
			w.Write(key)
			_, err := w.Write(val)
			return err
		})
		if err != nil {
			return err
		}
		count++
	}
	end := binary.BigEndian.AppendUint32(nil, backupEnd)
	w.Write(binary.BigEndian.AppendUint64(end, count))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := to.Write(sum.Sum(nil))
	return err
}

// read hands out every key and checks the whole file.
func (b backup) read(ctx context.Context, fn func(key, val []byte) error) error {
	damaged := func(what string) error {
		return &kv.DamageError{File: b.name, Offset: -1, Seq: b.seq, What: what, Do: doBackup}
	}
	f, err := b.fs.Open(b.name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size < sha256.Size {
		return damaged("truncated")
	}
	sum := sha256.New()
	in := io.TeeReader(bufio.NewReaderSize(io.NewSectionReader(f, 0, size-sha256.Size), 256<<10), sum)
	var head [22]byte
	if _, err := io.ReadFull(in, head[:]); err != nil || !bytes.Equal(head[:4], backupMagic) {
		return damaged("not a state backup")
	}
	if v := binary.BigEndian.Uint16(head[4:]); v != formatVersion {
		return damaged(fmt.Sprintf("format %d, this program knows %d", v, formatVersion))
	}
	if [16]byte(head[6:]) != b.store {
		return damaged("it is another store's")
	}
	if err := readPairs(ctx, in, fn); err != nil {
		return fmt.Errorf("%w: %w", damaged("truncated or damaged"), err)
	}
	var want hash
	if _, err := f.ReadAt(want[:], size-sha256.Size); err != nil {
		return err
	}
	if hash(sum.Sum(nil)) != want {
		return damaged("its SHA-256 is wrong")
	}
	return nil
}

func readPairs(ctx context.Context, in io.Reader, fn func(key, val []byte) error) error {
	var lens [12]byte
	for count := uint64(0); ; count++ {
		if _, err := io.ReadFull(in, lens[:4]); err != nil {
			return err
		}
		keyLen := binary.BigEndian.Uint32(lens[:])
		if keyLen == backupEnd {
			if _, err := io.ReadFull(in, lens[:8]); err != nil {
				return err
			}
			if binary.BigEndian.Uint64(lens[:]) != count {
				return errors.New("wrong number of keys")
			}
			return ctx.Err()
		}
		if _, err := io.ReadFull(in, lens[:4]); err != nil {
			return err
		}
		valLen := binary.BigEndian.Uint32(lens[:])
		if keyLen > 4*kv.MaxKey || valLen > 2*kv.MaxValue {
			return errors.New("impossible length")
		}
		pair := make([]byte, keyLen+valLen)
		if _, err := io.ReadFull(in, pair); err != nil {
			return err
		}
		if err := fn(pair[:keyLen:keyLen], pair[keyLen:]); err != nil {
			return err
		}
	}
}

// load puts the backup into an empty state. What is applied goes in last, so a
// load that was cut short is not mistaken for a state.
func (b backup) load(ctx context.Context, s *state, guard *diskGuard) error {
	values, cost, at := map[string][]byte{}, int64(0), []byte(nil)
	write := func() error {
		if err := guard.check(); err != nil {
			return err
		}
		err := s.write(values)
		values, cost = map[string][]byte{}, 0
		return err
	}
	err := b.read(ctx, func(key, val []byte) error {
		if string(key) == keyApplied {
			at = val
			return nil
		}
		values[string(key)] = val
		if cost += keyCost + int64(len(key)+len(val)); cost < s.maxCost/2 {
			return nil
		}
		return write()
	})
	if err == nil {
		err = write()
	}
	if err != nil {
		return err
	}
	if at == nil {
		return &kv.DamageError{File: b.name, Offset: -1, What: "does not say what it holds", Do: doBackup}
	}
	return s.write(map[string][]byte{keyApplied: at})
}
