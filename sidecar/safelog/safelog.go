// Package safelog keeps out of the log what does not belong there. A line of the
// log has a message, which is a constant, and attributes whose keys are on a list;
// any other attribute is left out, whatever it holds.
//
// The list is of what cannot hold what a caller sent, who the caller is, or a
// secret. The text of an error can be anything, so whoever logs one of a call logs
// what is safe of it.
package safelog

import (
	"context"
	"log/slog"
)

// Keys are the attributes that a line may have, and what each says.
var Keys = map[string]string{
	// Of a call.
	"decision_id":    "the decision's ID, which the caller has too",
	"reservation_id": "the ID of the reservation that an allow made",
	"intent":         "the ID of the intent that an allow opened, or that a payment is by",
	"status":         "HTTP status of a refusal",
	"code":           "code of the reason that leads, or of a refusal",
	"panic":          "type of what a panic was about, never its value",
	"stack":          "where a panic was: functions and lines",
	"error":          "what went wrong, without values of a call",
	"cause":          "why a payment service refused a call, without values of it",

	"operation": "which call of the control API it was",

	// Of the sidecar.
	"listen":   "where Envoy finds it",
	"metrics":  "where its metrics are",
	"systems":  "names of the systems that have routes",
	"audience": "name of a payment service",
	"key_id":   "name of a key, not the key",
	"modules":  "number of files of Rego",
	"digest":   "of a bundle",
	"checks":   "when a bundle passed them: now, or before",
	"refused":  "digest of a bundle that was refused",
	"active":   "digest of the bundle that decides",
	"left_out": "records that the decision log lacks",
	"removed":  "how many bundles went, because no record names them any more",
	"expired":  "how many reservations nobody settled in time",
	"receiver": "host that webhooks go to; empty where it is none that they may go to",
	"dead":     "how many messages were given up",
	"id":       "of the store",
	"data":     "directory of the store",
	"last_seq": "number of the store's last batch",
	"empty":    "whether the store is",

	// Of the clock.
	"time":          "what was accepted",
	"instead_of":    "what the time should have been",
	"newest_record": "time of the store's newest record",
	"by":            "the user of this host who accepted",
	"uid":           "that user's number",
	"reason":        "what that user says",

	// Of the store's files.
	"segment":        "number of a file of the journal",
	"offset":         "bytes into a file",
	"bytes":          "how many",
	"why":            "why the tables are made anew",
	"paused":         "whether the tables are left alone",
	"free_bytes":     "of the disk",
	"min_free_bytes": "that the store wants",
	"detail":         "what Badger says, without keys and values",
}

// LeftOut is the key of the number of attributes that were left out of a line.
const LeftOut = "not_logged"

// A handler passes on what may be logged.
type handler struct {
	next    slog.Handler
	leftOut int // of With
}

// New returns a handler that passes lines on to next, without what does not
// belong there.
func New(next slog.Handler) slog.Handler {
	if h, ok := next.(*handler); ok {
		return h
	}
	return &handler{next: next}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	safe := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	leftOut := h.leftOut
	r.Attrs(func(a slog.Attr) bool {
		if mayLog(a) {
			safe.AddAttrs(a)
		} else {
			leftOut++
		}
		return true
	})
	if leftOut > 0 {
		safe.AddAttrs(slog.Int(LeftOut, leftOut))
	}
	return h.next.Handle(ctx, safe)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var safe []slog.Attr
	leftOut := h.leftOut
	for _, a := range attrs {
		if mayLog(a) {
			safe = append(safe, a)
		} else {
			leftOut++
		}
	}
	return &handler{h.next.WithAttrs(safe), leftOut}
}

// WithGroup implements slog.Handler. There are no groups: the names of the list
// mean one thing each, wherever they stand.
func (h *handler) WithGroup(string) slog.Handler { return h }

// mayLog: a group has attributes of its own under any key.
func mayLog(a slog.Attr) bool {
	_, listed := Keys[a.Key]
	return listed && a.Value.Resolve().Kind() != slog.KindGroup
}
