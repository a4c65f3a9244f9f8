// Package replaytest holds decisions to their word: whatever was recorded must be
// decided alike by our engine and by stock OPA. It can be used in a test's cleanup.
package replaytest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/replay"
)

// A Tally says how many records were checked.
type Tally struct {
	Answered  int // equal in both engines
	Defects   int // a defect again in ours, and no decision in OPA
	NoVerdict int // there was no answer in time, so there is nothing to replay
}

// Records returns the decisions that a store holds.
func Records(t testing.TB, store *authzstore.Store) []decide.Record {
	t.Helper()
	var records []decide.Record
	err := store.View(context.Background(), func(s authzstore.Snapshot) error {
		return s.Records(1, func(_ uint64, stored authzstore.Record) error {
			if !decide.IsDecision(stored) {
				return nil
			}
			record, err := decide.ReadRecord(stored)
			records = append(records, record)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// Check replays every record, whose bundles are in the archive: with our engine
// one by one, with stock OPA those of a bundle in one process, on what Export
// writes. Of defects with the same error in the same bundle OPA sees one.
func Check(t testing.TB, archive *bundle.Archive, records []decide.Record) (tally Tally) {
	t.Helper()
	// The budget is for a busy machine: what was answered once is answered again.
	ours := replay.New(archive, policy.Config{Budget: time.Minute})
	dir := t.TempDir()
	answered, defects := map[string][]string{}, map[string]string{}
	for _, record := range records {
		got := ours.Replay(context.Background(), record)
		if got.Result == replay.Cannot && record.Outcome == decide.Unavailable {
			tally.NoVerdict++
			continue
		}
		if got.Result != replay.Equal {
			t.Errorf("%+v\nrecord %+v\ninput %s", got, record, record.Input)
			continue
		}
		export := filepath.Join(dir, record.DecisionID)
		if err := replay.Export(export, archive, record, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if string(record.Decision) == "null" {
			tally.Defects++
			defects[record.Bundle+record.Error] = export
		} else {
			tally.Answered++
			answered[record.Bundle] = append(answered[record.Bundle], export)
		}
	}
	for _, exports := range answered {
		checkAnswered(t, exports)
	}
	for _, export := range defects {
		checkDefect(t, export)
	}
	return tally
}

// opa runs stock OPA on a bundle and an input.
func opa(bundle string, input []byte, query string) (answer []byte, err error) {
	cmd := exec.Command("go", "tool", "opa", "eval", "--bundle", bundle, "--stdin-input", "--strict-builtin-errors", "--format", "raw", query)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err = cmd.Output()
	if err != nil {
		return stderr.Bytes(), err
	}
	return answer, nil
}

// checkAnswered evaluates the inputs of one bundle's exports at once.
func checkAnswered(t testing.TB, exports []string) {
	t.Helper()
	inputs, want := map[string]json.RawMessage{}, map[string]any{}
	for _, export := range exports {
		inputs[export] = read(t, export, "input.json")
		want[export] = decode(t, read(t, export, "decision.json"))
	}
	input, err := json.Marshal(inputs)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := opa(filepath.Join(exports[0], "bundle.tar.gz"), input,
		"{export: decision | some export, one in input; decision := data.payments.decision with input as one}")
	if err != nil {
		t.Errorf("OPA on %d decisions: %v: %s", len(exports), err, answer)
		return
	}
	got := decode(t, answer).(map[string]any)
	for export := range want {
		if !reflect.DeepEqual(got[export], want[export]) {
			t.Errorf("input %s\nOPA answers %v\nrecorded    %v", inputs[export], got[export], want[export])
		}
	}
}

// checkDefect holds OPA to give no decision: an error, nothing, or what our engine
// does not take for one.
func checkDefect(t testing.TB, export string) {
	t.Helper()
	answer, err := opa(filepath.Join(export, "bundle.tar.gz"), read(t, export, "input.json"), "data.payments.decision")
	if err != nil || len(bytes.TrimSpace(answer)) == 0 {
		return
	}
	echo, err := policy.Load(context.Background(), fstest.MapFS{"decision.rego": {Data: []byte("package payments\n\ndecision := input\n")}}, policy.Config{Budget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	document, err := policy.ParseValue(answer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := echo.Decide(context.Background(), document); err == nil {
		t.Errorf("a defect for us, and OPA decides %s", answer)
	}
}

func read(t testing.TB, export, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(export, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// decode keeps numbers as they are written.
func decode(t testing.TB, text []byte) (v any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
