package bundle

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/privatefile"
)

// judgedFile is beside the active file: the verdict on the last good bundle.
const judgedFile = "judged"

// A verdict says that a program has judged a bundle good, and with which
// vocabulary its route tables were read: all that judging depends on. It is the
// SHA-256 of these, each with its length before it (8 bytes, big-endian), in
// hexadecimal digits, and a newline.
type verdict string

func verdictOf(program string, s *policy.Snapshot, cfg Config) verdict {
	hash := sha256.New()
	for _, part := range []string{"judged good", program, s.Digest(), fmt.Sprintf("%#v", cfg.Vocabulary)} {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		io.WriteString(hash, part)
	}
	return verdict(hex.EncodeToString(hash.Sum(nil)) + "\n")
}

// judged tells whether the archive remembers v. Whatever is doubtful is not
// remembered: a file that is missing, damaged or open to others, a directory that
// is.
func (a *Archive) judged(v verdict) bool {
	info, err := os.Stat(a.dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	text, err := privatefile.Read(filepath.Join(a.dir, judgedFile), len(v))
	return err == nil && string(text) == string(v)
}

// rememberJudged remembers v, in the place of another.
func (a *Archive) rememberJudged(v verdict) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.judged(v) {
		return nil
	}
	return replaceFile(filepath.Join(a.dir, judgedFile), []byte(v))
}

// thisProgram names the program that runs, by the SHA-256 of its file. Only Linux
// shows the file that was started, whatever stands in its place by now: elsewhere
// each process has a name of its own, and believes no verdict of another.
var thisProgram = sync.OnceValue(func() string {
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return rand.Text()
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return rand.Text()
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
})

// builtIn is the digest of the built-in bundle. It is a part of the program, whose own
// tests judge it (TestBuiltIn): no start does it again.
var builtIn = sync.OnceValue(func() string {
	snapshot, err := policy.Read(policies.BuiltIn())
	if err != nil {
		return "" // no bundle's; a start that reads it says why
	}
	return snapshot.Digest()
})
