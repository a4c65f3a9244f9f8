// Slowsync makes a copy of go.mod that replaces ristretto, which does Badger's
// memory maps, by a copy in which every msync takes as much longer as the
// environment variable BADGERKV_MSYNC_DELAY says, and prints its path. With it
// the benchmarks compare with Badger on a slow disk:
//
//	go test -modfile "$(go run ./bench/slowsync)" -run '^$' -bench Updates -benchtime 1x ./authzstore/kv/badgerkv
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

func main() {
	path, err := makeModfile()
	if err != nil {
		fmt.Fprintln(os.Stderr, "slowsync:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

func makeModfile() (string, error) {
	source, err := run("go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", err
	}
	gomod, err := run("go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "slowsync")
	if err != nil {
		return "", err
	}
	patched := filepath.Join(dir, "ristretto")
	if err := os.CopyFS(patched, os.DirFS(source)); err != nil {
		return "", err
	}
	if err := patch(filepath.Join(patched, "z", "mmap.go")); err != nil {
		return "", err
	}
	modfile := filepath.Join(dir, "go.mod")
	err = errors.Join(copyFile(gomod, modfile), copyFile(filepath.Join(filepath.Dir(gomod), "go.sum"), filepath.Join(dir, "go.sum")))
	if err != nil {
		return "", err
	}
	_, err = run("go", "mod", "edit", "-replace", module+"="+patched, modfile)
	return modfile, err
}

func patch(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	src := string(b)
	if strings.Count(src, fast) != 1 || strings.Count(src, "\t\"os\"\n") != 1 {
		return fmt.Errorf("%s has changed: adapt slowsync", name)
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

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(out)), err
}
