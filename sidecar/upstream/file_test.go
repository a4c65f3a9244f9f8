package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var testAnswer = Answer{Status: 201, Header: http.Header{"Location": {"/v1/payments/1"}}, Body: []byte("paid\n\x00\xff")}

// begin expects what Begin says of a reservation: "new", "unfinished", "other" or
// "answered".
func begin(t *testing.T, f *FileExecutions, id, fingerprint, want string) {
	t.Helper()
	answer, err := f.Begin(t.Context(), id, fingerprint)
	got := "new"
	switch {
	case errors.Is(err, ErrUnfinished):
		got = "unfinished"
	case errors.Is(err, ErrOtherPayment):
		got = "other"
	case err != nil:
		got = err.Error()
	case answer != nil:
		got = "answered"
		if !reflect.DeepEqual(*answer, testAnswer) {
			t.Errorf("%s: answer %+v", id, answer)
		}
	}
	if got != want {
		t.Errorf("%s: %s, want %s", id, got, want)
	}
}

func finish(t *testing.T, f *FileExecutions, id string) {
	t.Helper()
	if err := f.Finish(t.Context(), id, testAnswer); err != nil {
		t.Fatal(err)
	}
}

// written makes a file with one reservation of each state.
func written(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "executions")
	f := openFile(t, name)
	for _, id := range []string{"rsv_done", "rsv_begun", "rsv_back"} {
		begin(t, f, id, "print", "new")
	}
	finish(t, f, "rsv_done")
	if err := f.Abandon(t.Context(), "rsv_back"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// What was noted is there after a restart; what was begun before it is unknown.
func TestFileReopens(t *testing.T) {
	name := written(t)
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 { // and again after that
		f := openFile(t, name)
		if got := f.Unfinished(); !slices.Equal(got, []string{"rsv_begun"}) {
			t.Errorf("unfinished %v", got)
		}
		begin(t, f, "rsv_done", "print", "answered")
		begin(t, f, "rsv_done", "another", "other")
		begin(t, f, "rsv_begun", "print", "unfinished")
		begin(t, f, "rsv_begun", "another", "other")
		f.Close()
	}
	f := openFile(t, name)
	begin(t, f, "rsv_back", "print", "new")
	for _, id := range []string{"rsv_done", "rsv_nobody"} {
		if err := errors.Join(f.Finish(t.Context(), id, testAnswer)); !errors.Is(err, ErrNotBegun) {
			t.Errorf("finish %s: %v", id, err)
		}
		if err := f.Abandon(t.Context(), id); !errors.Is(err, ErrNotBegun) {
			t.Errorf("abandon %s: %v", id, err)
		}
	}
	if _, err := f.Begin(t.Context(), "", "print"); err == nil {
		t.Error("begun without a reservation")
	}
}

// Wherever a crash cuts the last write, or leaves a hole in it, what was noted
// before is there, and the file goes on.
func TestFileTorn(t *testing.T) {
	name := written(t)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1 // the line that abandons
	check := func(t *testing.T, text []byte, want string) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		f := openFile(t, name)
		defer f.Close()
		begin(t, f, "rsv_done", "print", "answered")
		begin(t, f, "rsv_begun", "print", "unfinished")
		begin(t, f, "rsv_back", "print", want)
		begin(t, f, "rsv_next", "print", "new")
		finish(t, f, "rsv_next")
		begin(t, f, "rsv_next", "print", "answered")
		f.Close()
		f = openFile(t, name)
		begin(t, f, "rsv_next", "print", "answered")
		f.Close()
	}
	check(t, whole, "new")
	for cut := last; cut < len(whole); cut++ {
		check(t, whole[:cut], "unfinished")
		hole := slices.Clone(whole)
		clear(hole[last : cut+1])
		check(t, hole, "unfinished")
	}
}

// A file that was whole once and is not any more is not used: a payment that it
// knew could run again.
func TestFileDamaged(t *testing.T) {
	name := written(t)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, text := range map[string][]byte{
		"a bit of the first line":    flip(whole, 20),
		"a bit of the last line":     flip(whole, len(whole)-10),
		"a bit of a checksum":        flip(whole, 0),
		"a line gone":                bytes.Join(lines[1:], nil),
		"a line twice":               append(slices.Clone(lines[0]), whole...),
		"a hole in the middle":       slices.Concat(make([]byte, len(lines[0])-1), whole[len(lines[0])-1:]),
		"an empty line":              slices.Concat(whole, []byte("\n")),
		"a line of another program":  slices.Concat(whole, line(`{"reservation_id": "rsv_begun", "later": 1}`)),
		"a line that is not JSON":    slices.Concat(whole, line(`x`)),
		"something else":             []byte("account,amount\n"),
		"begun and finished at once": slices.Concat(whole, line(`{"reservation_id": "rsv_done", "begin": "x"}`)),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "executions")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenExecutions(file); err == nil || !strings.Contains(err.Error(), file+": offset ") {
				t.Errorf("error %v", err)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, text) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

func flip(text []byte, at int) []byte {
	text = slices.Clone(text)
	text[at] ^= 1
	return text
}

func line(text string) []byte { return []byte(checksum([]byte(text)) + text + "\n") }

// Damage under an open file is found when the answer is read.
func TestFileDamagedLater(t *testing.T) {
	name := written(t)
	f := openFile(t, name)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte(`"status"`))
	if err := os.WriteFile(name, flip(text, at), 0o600); err != nil {
		t.Fatal(err)
	}
	begin(t, f, "rsv_done", "print", fmt.Sprintf("upstream: executions: offset %d: a line that is damaged",
		bytes.LastIndexByte(text[:at], '\n')+1))
}

func TestFileRefuses(t *testing.T) {
	dir := t.TempDir()
	open := openFile(t, filepath.Join(dir, "open"))
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"open already": filepath.Join(dir, "open"), "a directory": dir, "a link": link, "nowhere": filepath.Join(dir, "nowhere", "x"),
	} {
		if _, err := OpenExecutions(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	open.Close()
	if _, err := open.Begin(t.Context(), "rsv_1", "print"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("begun in a closed file: %v", err)
	}
}

// badDisk fails once.
type badDisk struct {
	logFile
	write, sync error
}

func (d *badDisk) WriteAt(p []byte, at int64) (int, error) {
	if err := d.write; err != nil {
		d.write = nil
		n, _ := d.logFile.WriteAt(p[:len(p)/2], at)
		return n, err
	}
	return d.logFile.WriteAt(p, at)
}

func (d *badDisk) Sync() error {
	if err := d.sync; err != nil {
		d.sync = nil
		return err
	}
	return d.logFile.Sync()
}

// After a write or a sync that failed, nothing is begun until the file is opened
// again: what the disk holds is not known.
func TestFileBadDisk(t *testing.T) {
	for name, c := range map[string]struct {
		bad   badDisk
		after string // what the file says of the begun one, opened again
	}{
		"write": {badDisk{write: syscall.ENOSPC}, "new"},
		"sync":  {badDisk{sync: syscall.EIO}, "unfinished"},
	} {
		t.Run(name, func(t *testing.T) {
			name := written(t)
			f := openFile(t, name)
			c.bad.logFile = f.file
			f.file = &c.bad
			if _, err := f.Begin(t.Context(), "rsv_1", "print"); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
				t.Fatalf("begun: %v", err)
			}
			for _, id := range []string{"rsv_1", "rsv_2"} {
				if _, err := f.Begin(t.Context(), id, "print"); err == nil {
					t.Errorf("%s was begun after it", id)
				}
			}
			if err := f.Finish(t.Context(), "rsv_begun", testAnswer); err == nil {
				t.Error("finished after it")
			}
			begin(t, f, "rsv_done", "print", "answered") // it can still be read
			f.Close()
			again := openFile(t, name)
			begin(t, again, "rsv_1", "print", c.after)
			begin(t, again, "rsv_2", "print", "new")
		})
	}
}
