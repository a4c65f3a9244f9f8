// Package policiestest hands a bundle to tests that want to change it.
package policiestest

import (
	"io/fs"
	"path"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies"
)

// Files is Direct, for tests.
func Files(t testing.TB) fstest.MapFS {
	t.Helper()
	return forTest(t, direct)
}

// All is the whole built-in bundle, as files of the caller's own.
func All(t testing.TB) fstest.MapFS {
	t.Helper()
	return forTest(t, func(string) bool { return true })
}

func forTest(t testing.TB, wanted func(system string) bool) fstest.MapFS {
	t.Helper()
	files, err := read(wanted)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Direct is the built-in bundle with one of its systems, direct_payment, as files of
// the caller's own. It is judged in a fraction of the time that all of it takes.
func Direct() (fstest.MapFS, error) { return read(direct) }

func direct(system string) bool { return system == "direct_payment" }

// read reads the built-in bundle, of its systems those that are wanted.
func read(wanted func(system string) bool) (fstest.MapFS, error) {
	files := fstest.MapFS{}
	err := fs.WalkDir(policies.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path.Dir(name) == "systems" && !wanted(entry.Name()):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		text, err := fs.ReadFile(policies.FS, name)
		files[name] = &fstest.MapFile{Data: text}
		return err
	})
	return files, err
}
