package safelog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/safelog"
)

const canary = "canary4711"

// lazy is a value that is asked for only when the line is written.
type lazy struct{ value slog.Value }

func (l lazy) LogValue() slog.Value { return l.value }

func TestOnlyWhatIsListedIsLogged(t *testing.T) {
	for name, line := range map[string]func(*slog.Logger){
		"another key": func(l *slog.Logger) { l.Info("m", "code", "kept", "body", canary) },
		"an attribute": func(l *slog.Logger) {
			l.LogAttrs(context.Background(), slog.LevelInfo, "m", slog.String("code", "kept"), slog.Any("token", errors.New(canary)))
		},
		"of With":             func(l *slog.Logger) { l.With("authorization", canary, "code", "kept").Info("m") },
		"of With, twice":      func(l *slog.Logger) { l.With("authorization", canary).With("code", "kept").Info("m") },
		"a group":             func(l *slog.Logger) { l.Info("m", "code", "kept", slog.Group("error", "body", canary)) },
		"a group without key": func(l *slog.Logger) { l.Info("m", "code", "kept", slog.Group("", "body", canary)) },
		"a lazy group": func(l *slog.Logger) {
			l.Info("m", "code", "kept", "error", lazy{slog.GroupValue(slog.String("body", canary))})
		},
		"in a group":       func(l *slog.Logger) { l.WithGroup("g").Info("m", "code", "kept", "body", canary) },
		"a group by name":  func(l *slog.Logger) { l.WithGroup("g").With("code", "kept", "error.body", canary).Info("m") },
		"without a key":    func(l *slog.Logger) { l.Info("m", []any{"code", "kept", canary}...) },
		"a key of content": func(l *slog.Logger) { l.Info("m", "code", "kept", canary, 1) },
		"in capitals":      func(l *slog.Logger) { l.Info("m", "code", "kept", "Error", canary) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			line(slog.New(safelog.New(slog.NewJSONHandler(&log, nil))))
			if text := log.String(); strings.Contains(text, canary) || !strings.Contains(text, `"code":"kept"`) || !strings.Contains(text, `"not_logged":1`) {
				t.Errorf("logged %s", text)
			}
		})
	}
}

func TestAllThatIsListedIsLogged(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(safelog.New(safelog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	logger.Info("too little")
	logger.With("decision_id", "dec_1").Warn("m", "error", errors.New("e"), "left_out", 3)
	text := log.String()
	if _, after, ok := strings.Cut(text, `"level"`); !ok || after != `:"WARN","msg":"m","decision_id":"dec_1","error":"e","left_out":3}`+"\n" {
		t.Errorf("logged %s", text)
	}
}
