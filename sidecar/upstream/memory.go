package upstream

import (
	"context"
	"fmt"
	"sync"
)

// MemoryExecutions remembers executions as long as the process lives. It is for
// tests: a restart forgets what was paid. The zero value is empty.
type MemoryExecutions struct {
	mu      sync.Mutex
	entries map[string]memoryEntry
}

type memoryEntry struct {
	fingerprint string
	answer      *Answer
}

// Begin is Executions' Begin.
func (m *MemoryExecutions) Begin(_ context.Context, reservationID, fingerprint string) (*Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, begun := m.entries[reservationID]
	switch {
	case !begun:
		if m.entries == nil {
			m.entries = map[string]memoryEntry{}
		}
		m.entries[reservationID] = memoryEntry{fingerprint: fingerprint}
		return nil, nil
	case known.fingerprint != fingerprint:
		return nil, ErrOtherPayment
	case known.answer == nil:
		return nil, ErrUnfinished
	}
	return known.answer, nil
}

// Finish is Executions' Finish.
func (m *MemoryExecutions) Finish(_ context.Context, reservationID string, answer Answer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, begun := m.entries[reservationID]
	if !begun || known.answer != nil {
		return fmt.Errorf("%w: %s", ErrNotBegun, reservationID)
	}
	known.answer = &answer
	m.entries[reservationID] = known
	return nil
}

// Abandon is Executions' Abandon.
func (m *MemoryExecutions) Abandon(_ context.Context, reservationID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, begun := m.entries[reservationID]; !begun || known.answer != nil {
		return fmt.Errorf("%w: %s", ErrNotBegun, reservationID)
	}
	delete(m.entries, reservationID)
	return nil
}
