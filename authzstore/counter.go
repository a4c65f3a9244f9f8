package authzstore

const counterPrefix = "count/"

// Count adds n to a counter. It needs no ref and waits for nobody: many
// transactions add to one at once.
func (tx *Tx) Count(counter string, n int64) error { return tx.kv.Add(counterPrefix+counter, n) }

// Counted returns a counter's sum: of every transaction published so far, and of
// this one.
func (tx *Tx) Counted(counter string) (int64, error) { return tx.kv.Counter(counterPrefix + counter) }
