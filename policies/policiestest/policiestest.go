// Package policiestest hands the built-in bundle to tests that want to change it.
package policiestest

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies"
)

// Files is the built-in bundle, as files of the caller's own.
func Files(t testing.TB) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(policies.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(policies.FS, name)
		files[name] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
