package sidecar

import (
	"maps"

	"github.com/countersign/countersign/sidecar/evidence"
)

// proofs are what calls prove something with, and how people are asked to.
type proofs struct {
	kinds      map[string]evidence.Kind // by the names that routes have for them
	challenges *evidence.Challenges
	stored     *evidence.StoredCodes
	tokens     *evidence.IntentTokens
}

func newProofs(cfg Config, keys keyring, codes *evidence.PaymentCodes) (p proofs, err error) {
	sealer, err := evidence.NewSealer(keys.Sealing)
	if err != nil {
		return proofs{}, err
	}
	if p.challenges, err = evidence.NewChallenges(evidence.ChallengesConfig{Sealer: sealer}); err != nil {
		return proofs{}, err
	}
	if p.stored, err = evidence.NewStoredCodes(evidence.StoredCodesConfig{Sealer: sealer}); err != nil {
		return proofs{}, err
	}
	if p.tokens, err = evidence.NewIntentTokens(keys.IntentTokens); err != nil {
		return proofs{}, err
	}
	p.kinds = map[string]evidence.Kind{evidence.PaymentCode: codes, evidence.StoredCode: p.stored, evidence.IntentToken: p.tokens}
	maps.Copy(p.kinds, cfg.Evidence)
	return p, nil
}
