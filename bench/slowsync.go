package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	module = "github.com/dgraph-io/ristretto/v2"
	fast   = "return msync(b)"
	slow   = `if d, err := time.ParseDuration(os.Getenv("BADGERKV_MSYNC_DELAY")); err == nil {
		time.Sleep(d)
	}
	return msync(b)`
)

// slowSyncModfile makes a copy of go.mod in dir that replaces ristretto, which does
// Badger's memory maps, by a copy in which every msync takes as much longer as
// the environment variable BADGERKV_MSYNC_DELAY says, and returns its path. So
// Badger can be measured on a slow disk.
func slowSyncModfile(dir string) (string, error) {
	source, err := output("go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", err
	}
	gomod, err := output("go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	patched := filepath.Join(dir, "ristretto")
	if err := os.CopyFS(patched, os.DirFS(source)); err != nil {
		return "", err
	}
	if err := slowDown(filepath.Join(patched, "z", "mmap.go")); err != nil {
		return "", err
	}
	modfile := filepath.Join(dir, "go.mod")
	err = errors.Join(copyFile(gomod, modfile), copyFile(filepath.Join(filepath.Dir(gomod), "go.sum"), filepath.Join(dir, "go.sum")))
	if err != nil {
		return "", err
	}
	_, err = output("go", "mod", "edit", "-replace", module+"="+patched, modfile)
	return modfile, err
}

func slowDown(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	src := string(b)
	if strings.Count(src, fast) != 1 || strings.Count(src, "\t\"os\"\n") != 1 {
		return fmt.Errorf("%s has changed: adapt bench/slowsync.go", name)
	}
	src = strings.Replace(src, fast, slow, 1)
	src = strings.Replace(src, "\t\"os\"\n", "\t\"os\"\n\t\"time\"\n", 1)
	if err := os.Chmod(name, 0o600); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(src), 0o600)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(out)), err
}
