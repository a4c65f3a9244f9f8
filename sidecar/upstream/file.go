package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/countersign/countersign/sidecar/privatefile"
)

// FileExecutions remembers executions in a file that only grows. Each call of
// Begin and Finish waits for the disk. A process has the file for itself; it
// needs about 200 bytes of memory for each reservation in it, and reads the file
// through when it starts.
type FileExecutions struct {
	mu      sync.Mutex
	file    logFile
	size    int64
	entries map[string]entry
	failed  error // of a write: what the disk holds since is not known
}

// logFile is an *os.File, so that tests can have one that fails.
type logFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

// An entry is what is known of one reservation.
type entry struct {
	fingerprint string
	at, bytes   int64 // the line with the answer; none while bytes is 0
}

// A line of the file is the checksum of the rest in 8 hexadecimal digits
// (CRC-32C), a space, a logged in JSON, and a line feed.
type logged struct {
	ReservationID string  `json:"reservation_id"`
	Fingerprint   string  `json:"begin,omitempty"`
	Answer        *Answer `json:"finish,omitempty"`
	Abandoned     bool    `json:"abandon,omitempty"`
}

const checksumBytes = 8 + 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenExecutions opens the file, which it makes where there is none. A last line
// that was cut short by a crash is removed: nobody was told of it. Any other line
// that cannot be read is an error that names its place, and so is a file that
// another process has open.
func OpenExecutions(name string) (*FileExecutions, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("upstream: executions: %w", err)
	}
	f := &FileExecutions{file: file, entries: map[string]entry{}}
	if err := f.load(file); err != nil {
		return nil, errors.Join(fmt.Errorf("upstream: executions %s: %w", name, err), file.Close())
	}
	return f, nil
}

func (f *FileExecutions) load(file *os.File) error {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another process has it open: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	for lines := bufio.NewReader(file); f.size < info.Size(); {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		last := f.size+int64(len(line)) == info.Size()
		if last && isTorn(line) {
			break
		}
		if err := f.replay(line); err != nil {
			return fmt.Errorf("offset %d: %w", f.size, err)
		}
		f.size += int64(len(line))
	}
	if err := file.Truncate(f.size); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return privatefile.SyncDir(filepath.Dir(file.Name()))
}

// isTorn tells whether a last line is what a crash leaves of a write: it ends too
// soon, or has a hole. Anything else was there once, and somebody was told so.
func isTorn(line []byte) bool {
	return !bytes.HasSuffix(line, []byte("\n")) || bytes.IndexByte(line, 0) >= 0
}

var errDamaged = errors.New("a line that is damaged")

func (f *FileExecutions) replay(line []byte) error {
	l, err := parseLine(line)
	if err != nil {
		return err
	}
	return f.apply(l, f.size, int64(len(line)))
}

func parseLine(line []byte) (logged, error) {
	text, whole := bytes.CutSuffix(line, []byte("\n"))
	if !whole || len(text) < checksumBytes || string(text[:checksumBytes]) != checksum(text[checksumBytes:]) {
		return logged{}, errDamaged
	}
	var l logged
	if err := json.Unmarshal(text[checksumBytes:], &l); err != nil {
		return logged{}, fmt.Errorf("a line of another program: %w", err)
	}
	return l, nil
}

func checksum(text []byte) string { return fmt.Sprintf("%08x ", crc32.Checksum(text, castagnoli)) }

// apply notes a line that stands in the file.
func (f *FileExecutions) apply(l logged, at, bytes int64) error {
	known, begun := f.entries[l.ReservationID]
	switch {
	case begun == (l.Fingerprint != "") || known.bytes > 0:
		return fmt.Errorf("%s is begun twice, or ends without beginning", l.ReservationID)
	case l.Fingerprint != "":
		f.entries[l.ReservationID] = entry{fingerprint: l.Fingerprint}
	case l.Answer != nil:
		known.at, known.bytes = at, bytes
		f.entries[l.ReservationID] = known
	case l.Abandoned:
		delete(f.entries, l.ReservationID)
	default:
		return fmt.Errorf("%s: a line of another program", l.ReservationID)
	}
	return nil
}

// write appends a line, and returns when the disk has it.
func (f *FileExecutions) write(l logged) error {
	if f.failed != nil {
		return f.failed
	}
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("upstream: executions: %w", err)
	}
	line := append(append([]byte(checksum(body)), body...), '\n')
	if _, err = f.file.WriteAt(line, f.size); err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		// After a sync that failed, another one may succeed with the line lost.
		f.failed = fmt.Errorf("upstream: executions: %w; open them again", err)
		return f.failed
	}
	at := f.size
	f.size += int64(len(line))
	return f.apply(l, at, int64(len(line)))
}

// Begin is Executions' Begin.
func (f *FileExecutions) Begin(_ context.Context, reservationID, fingerprint string) (*Answer, error) {
	if reservationID == "" || fingerprint == "" {
		return nil, errors.New("upstream: an execution without reservation or fingerprint")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known, begun := f.entries[reservationID]
	switch {
	case !begun:
		return nil, f.write(logged{ReservationID: reservationID, Fingerprint: fingerprint})
	case known.fingerprint != fingerprint:
		return nil, ErrOtherPayment
	case known.bytes == 0:
		return nil, ErrUnfinished
	}
	line := make([]byte, known.bytes)
	if _, err := f.file.ReadAt(line, known.at); err != nil {
		return nil, fmt.Errorf("upstream: executions: %w", err)
	}
	l, err := parseLine(line)
	if err != nil || l.ReservationID != reservationID || l.Answer == nil {
		return nil, fmt.Errorf("upstream: executions: offset %d: %w", known.at, errDamaged)
	}
	return l.Answer, nil
}

// Finish is Executions' Finish. An operator who has found out what became of an
// execution that is unknown ends it with this, or with Abandon.
func (f *FileExecutions) Finish(_ context.Context, reservationID string, answer Answer) error {
	return f.end(logged{ReservationID: reservationID, Answer: &answer})
}

// Abandon is Executions' Abandon.
func (f *FileExecutions) Abandon(_ context.Context, reservationID string) error {
	return f.end(logged{ReservationID: reservationID, Abandoned: true})
}

func (f *FileExecutions) end(l logged) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, begun := f.entries[l.ReservationID]; !begun || known.bytes > 0 {
		return fmt.Errorf("%w: %s", ErrNotBegun, l.ReservationID)
	}
	return f.write(l)
}

// Unfinished returns the reservations that were begun and not finished. Right
// after OpenExecutions, these are the unknown ones: look into the ledger, and
// Finish or Abandon them.
func (f *FileExecutions) Unfinished() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id, e := range f.entries {
		if e.bytes == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// Close closes the file. Handlers must have ended.
func (f *FileExecutions) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = fmt.Errorf("upstream: executions: %w", os.ErrClosed)
	}
	return f.file.Close()
}
