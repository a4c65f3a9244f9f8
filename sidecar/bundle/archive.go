package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/privatefile"
)

// An Archive keeps every bundle that was ever active, so that a decision can be
// repeated with the policy of its day, and names the last good one. It is a
// directory of its own:
//
//	HEX.tar.gz   a bundle that stock OPA reads, by the digits of its digest
//	HEX.until    where records can name it for the last time; see Retire
//	active       the digest of the last good one
//	judged       which program has judged that one; see verdict
//
// One process writes at a time: whoever owns the store beside it. Its methods may
// be called concurrently.
type Archive struct {
	dir string

	mu sync.Mutex
	// used are the bundles that this process has made active. A call that began
	// under one of them may not have written its record yet.
	used map[string]bool
}

const (
	archiveSuffix = ".tar.gz"
	untilSuffix   = ".until"
	activeFile    = "active"
)

// NewArchive returns the archive in dir, which Activate makes where it is missing.
func NewArchive(dir string) *Archive { return &Archive{dir: dir, used: map[string]bool{}} }

var digestPattern = regexp.MustCompile(`^sha256:([0-9a-f]{64})$`)

// file is where the bundle of a digest is kept, or with another suffix what is
// noted about it.
func (a *Archive) file(digest, suffix string) (string, error) {
	m := digestPattern.FindStringSubmatch(digest)
	if m == nil {
		return "", fmt.Errorf("%q is not the digest of a bundle: sha256: and 64 hexadecimal digits", digest)
	}
	return filepath.Join(a.dir, m[1]+suffix), nil
}

// Open reads the bundle of a digest. An error is fs.ErrNotExist where there is
// none, and another where what is there is not that bundle.
func (a *Archive) Open(digest string) (*policy.Snapshot, error) {
	name, err := a.file(digest, archiveSuffix)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	snapshot, err := policy.ReadArchive(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if got := snapshot.Digest(); got != digest {
		return nil, fmt.Errorf("%s: damaged: its content has the digest %s", name, got)
	}
	return snapshot, nil
}

// Active returns the digest of the last good bundle, "" where there was none.
func (a *Archive) Active() (string, error) {
	name := filepath.Join(a.dir, activeFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	digest := strings.TrimSuffix(string(text), "\n")
	if !digestPattern.MatchString(digest) {
		return "", fmt.Errorf("%s: damaged: not the digest of a bundle", name)
	}
	return digest, nil
}

// Activate keeps a bundle and names it the last good one. When it returns nil,
// both outlast a loss of power.
func (a *Archive) Activate(s *policy.Snapshot) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	digest := s.Digest()
	name, err := a.file(digest, archiveSuffix)
	if err != nil {
		return err
	}
	until, err := a.file(digest, untilSuffix)
	if err != nil {
		return err
	}
	if err := a.makeDir(); err != nil {
		return err
	}
	// It is in use again. What names it the last good one makes that durable too.
	if err := os.Remove(until); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := a.Open(digest); err != nil { // missing or damaged
		var archive bytes.Buffer
		if err := s.WriteArchive(&archive); err != nil {
			return err
		}
		if err := replaceFile(name, archive.Bytes()); err != nil {
			return err
		}
	}
	if err := replaceFile(filepath.Join(a.dir, activeFile), []byte(digest+"\n")); err != nil {
		return err
	}
	a.used[digest] = true
	return nil
}

func (a *Archive) makeDir() error {
	err := os.Mkdir(a.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return privatefile.SyncDir(filepath.Dir(a.dir))
}

// Retire notes for every bundle that this process has not made active, and that
// has no such note yet, that no record after seq names it: seq is the last batch
// of the store. It is called when a process starts, before Keep: what the one
// before used it wrote before.
//
// So no record needs to be read to know which bundles are still named. A bundle
// stays for as long as any record from before the first start after its last use;
// a note that is lost is made anew, and only keeps it longer.
func (a *Archive) Retire(seq uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	digests, err := a.digests()
	if err != nil {
		return err
	}
	for _, digest := range digests {
		name, err := a.file(digest, untilSuffix)
		if err != nil {
			return err
		}
		if _, noted, err := readUntil(name); a.used[digest] || err == nil && noted {
			continue
		}
		if err := replaceFile(name, []byte(strconv.FormatUint(seq, 10)+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// readUntil reads what Retire has noted, and tells whether it has.
func readUntil(name string) (seq uint64, noted bool, err error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	seq, err = strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("%s: damaged: %w", name, err)
	}
	return seq, true, nil
}

// Prune removes the bundles that no record from batch first on can name, but never
// the last good one; what this process has made active is not retired. It returns
// how many it removed.
func (a *Archive) Prune(first uint64) (removed int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	active, err := a.Active()
	if err != nil {
		return 0, err // else the last good one might go
	}
	digests, err := a.digests()
	if err != nil {
		return 0, err
	}
	for _, digest := range digests {
		until, err := a.file(digest, untilSuffix)
		if err != nil {
			return removed, err
		}
		seq, noted, err := readUntil(until)
		if err != nil {
			return removed, err
		}
		if !noted || seq >= first || digest == active {
			continue
		}
		name, err := a.file(digest, archiveSuffix)
		if err != nil {
			return removed, err
		}
		// The note goes last: alone it means nothing, a bundle without one stays.
		if err := errors.Join(os.Remove(name), os.Remove(until)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// digests are those of the bundles that are there.
func (a *Archive) digests() ([]string, error) {
	entries, err := os.ReadDir(a.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var digests []string
	for _, entry := range entries {
		digits, isArchive := strings.CutSuffix(entry.Name(), archiveSuffix)
		if digest := "sha256:" + digits; isArchive && digestPattern.MatchString(digest) {
			digests = append(digests, digest)
		}
	}
	return digests, nil
}

func replaceFile(name string, content []byte) error {
	return privatefile.Replace(name, func(file *os.File) error {
		_, err := file.Write(content)
		return err
	})
}
