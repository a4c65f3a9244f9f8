package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/upstream"
)

// The log says at start which policy decides, before anything is opened.
func TestPolicyIsLogged(t *testing.T) {
	dir := t.TempDir()
	notADir := filepath.Join(dir, "file")
	if err := os.WriteFile(notADir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := upstream.SharedKey(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	err = Run(context.Background(), Config{
		Listen:    "unix:" + filepath.Join(dir, "s.sock"),
		DataDir:   notADir,
		TokenKeys: map[string]upstream.Key{"payments.example": key},
		Log:       slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err == nil {
		t.Fatal("it runs without a store")
	}
	bundle, err := policy.Read(policies.FS)
	if err != nil {
		t.Fatal(err)
	}
	modules := 0
	err = fs.WalkDir(policies.FS, ".", func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego") {
			modules++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(fmt.Sprintf(`msg=policy modules=%d digest=%s`, modules, regexp.QuoteMeta(bundle.Digest())))
	if !want.Match(log.Bytes()) {
		t.Errorf("no %v in %s", want, &log)
	}
}
