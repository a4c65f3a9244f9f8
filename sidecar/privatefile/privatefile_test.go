package privatefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCreate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := Create(name, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := Create(name, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	link := name + ".link"
	if err := os.Symlink(filepath.Join(filepath.Dir(name), "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := Create(link, nil); err == nil {
		t.Error("through a link")
	}
	if text, err := Read(name, 3); err != nil || string(text) != "one" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestReplace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	write := func(text string, fail error) error {
		return Replace(name, func(f *os.File) error {
			_, err := f.WriteString(text)
			return errors.Join(err, fail)
		})
	}
	failure := errors.New("failure")
	for _, c := range []struct {
		text string
		fail error
		want string
	}{{"one", nil, "one"}, {"a longer two", nil, "a longer two"}, {"half", failure, "a longer two"}, {"3", nil, "3"}} {
		if err := write(c.text, c.fail); !errors.Is(err, c.fail) {
			t.Errorf("%q: %v", c.text, err)
		}
		if text, err := Read(name, 100); err != nil || string(text) != c.want {
			t.Errorf("after %q: %q, %v", c.text, text, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := Create(name, []byte("four")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name, 3); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	if _, err := Read(filepath.Dir(name), 3); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a directory: %v", err)
	}
	for _, mode := range []os.FileMode{0o604, 0o640, 0o620, 0o602, 0o601} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		if got, ok := errors.AsType[ModeError](func() error { _, err := Read(name, 4); return err }()); !ok || os.FileMode(got) != mode {
			t.Errorf("mode %04o: %v", mode, got)
		}
	}
}
