package kv

import "context"

type urgentKey struct{}

// Urgent returns a context whose Updates are not shed with the rest of the load:
// those of an operator who freezes, kills or revokes. They get a record before all who
// wait for it and are not urgent, and the room that the bounds on what
// waits for the disk keep back is theirs alone. That room is small, so whoever
// calls under load is not urgent.
func Urgent(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgentKey{}, true)
}

// IsUrgent tells a backend whether ctx comes from Urgent.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }
