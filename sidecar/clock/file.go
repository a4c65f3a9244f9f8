package clock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/countersign/countersign/sidecar/privatefile"
)

const (
	fileName    = "clock"        // written by the process that owns the directory
	acceptName  = "clock-accept" // written by an operator's command
	fileVersion = 1
	maxFile     = 16 << 10 // bytes
)

// ErrDamaged: a file of this package cannot be read.
var ErrDamaged = errors.New("damaged")

// A file is what `clock` holds.
type file struct {
	Version int           `json:"version"`
	MaxGap  time.Duration `json:"max_gap_ns"`
	state
}

func readFile(dir string) (file, error) {
	var f file
	if err := readSealed(filepath.Join(dir, fileName), &f); err != nil {
		return file{}, err
	}
	return f, nil
}

// save writes the file.
func (c *Clock) save() error {
	c.mu.Lock()
	s := c.state
	c.mu.Unlock()
	if err := writeSealed(c.dir, fileName, file{fileVersion, c.cfg.MaxGap, s}); err != nil {
		return fmt.Errorf("write the clock's file: %w", err)
	}
	c.saved, c.savedAt = s, c.cfg.Boottime()
	return nil
}

// A sealed file is a line of JSON, which has a version, and a line with its CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(line []byte) string { return fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) }

func readSealed(name string, v any) error {
	text, err := readRegular(name)
	if err != nil {
		return err
	}
	line, sum, _ := bytes.Cut(text, []byte("\n"))
	if string(sum) != checksum(line) {
		return fmt.Errorf("%s: %w: wrong checksum", name, ErrDamaged)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return fmt.Errorf("%s: %w: %v", name, ErrDamaged, err)
	}
	if head.Version != fileVersion {
		return fmt.Errorf("%s: version %d, this program knows %d", name, head.Version, fileVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("%s: %w: %v", name, ErrDamaged, err)
	}
	return nil
}

func readRegular(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// writeSealed replaces a file: a crash leaves the old one or the new one. It
// belongs to the directory's owner, also when root writes it.
func writeSealed(dir, name string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return privatefile.Replace(filepath.Join(dir, name), func(f *os.File) error {
		if _, err := f.Write(append(append(line, '\n'), checksum(line)...)); err != nil {
			return err
		}
		return giveToOwner(f, dir)
	})
}

func giveToOwner(f *os.File, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
