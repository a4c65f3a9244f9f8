package decide

import (
	"encoding/json"
	"time"

	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// A Record is what a decision was made of and what came of it: enough to repeat
// it. Decisions that need the store are kept in it, as the detail of their
// transaction (authzstore.Record), in JSON.
type Record struct {
	DecisionID string `json:"decision_id"`
	// Time is the transaction's: `now_ns` of the input.
	Time    time.Time `json:"time"`
	Outcome Outcome   `json:"outcome"`
	Status  int       `json:"status,omitempty"`
	// Reasons are all of them; PublicReasons are what the caller was told.
	Reasons       []policy.Reason `json:"reasons,omitempty"`
	PublicReasons []policy.Reason `json:"public_reasons,omitempty"`
	// Evidence says of each secret field what was found out.
	Evidence      []EvidenceRecord `json:"evidence,omitempty"`
	ReservationID string           `json:"reservation_id,omitempty"`
	// Grant is the one by which the reservation was made, or that the built-in
	// operation made or was about.
	Grant string `json:"grant,omitempty"`
	// Challenge is the one that a step-up asks for, or that a code was entered into.
	Challenge string `json:"challenge,omitempty"`
	// Intent is the one that an allowed call came to be about.
	Intent string `json:"intent,omitempty"`
	// Error says why there is no verdict, or none that could be carried out.
	Error string `json:"error,omitempty"`
	// Bundle is the digest of rules, data and routes.
	Bundle string `json:"bundle"`
	// Input and Decision are the policy's own: `opa eval` on the one gives the
	// other. Decision is null where the policy gave none.
	Input    json.RawMessage `json:"input"`
	Decision json.RawMessage `json:"decision"`
}

// An EvidenceRecord says what a secret field proved, without the secret.
type EvidenceRecord struct {
	Field string `json:"field"`
	Kind  string `json:"kind"`
	// Matched: it is right. Of a code that was entered into a challenge: the challenge
	// expected it; whether it is right, the challenge says.
	Matched bool `json:"matched"`
	// SpentBefore: it was spent by an earlier evaluation under the same key.
	SpentBefore bool `json:"spent_before,omitempty"`
	// Budgets are whose attempts it burnt.
	Budgets []string `json:"budgets,omitempty"`
}

func (ck *check) newRecord(nowNanos int64, d Decision, made basis) (Record, error) {
	input, err := made.input.MarshalJSON()
	if err != nil {
		return Record{}, err
	}
	verdict, err := made.verdict.Document.MarshalJSON()
	if err != nil {
		return Record{}, err
	}
	r := Record{
		DecisionID:    ck.id,
		Time:          time.Unix(0, nowNanos).UTC(),
		Outcome:       d.Outcome,
		Status:        d.Status,
		Reasons:       made.verdict.Reasons,
		PublicReasons: d.Reasons,
		Bundle:        ck.bundle.Digest,
		Input:         input,
		Decision:      verdict,
	}
	if d.Execution != nil {
		r.ReservationID, r.Grant = d.Execution.ReservationID, d.Execution.Grant
	}
	r.Intent = d.IntentID
	if d.Challenge != nil {
		r.Challenge = d.Challenge.ID
	}
	if made.cause != nil {
		r.Error = told(made.cause)
	}
	for _, e := range ck.evidence {
		er := EvidenceRecord{Field: e.name, Kind: e.kindID, Matched: e.finding.Matched, SpentBefore: e.again}
		for _, b := range e.burns {
			er.Budgets = append(er.Budgets, b.Name)
		}
		r.Evidence = append(r.Evidence, er)
	}
	if e := ck.entry; e != nil {
		r.Challenge = e.into
		er := EvidenceRecord{Field: e.name, Kind: evidence.ChallengeCode, Matched: e.into != "", SpentBefore: e.again}
		if e.burnt {
			er.Budgets = []string{e.sender.Name}
		}
		r.Evidence = append(r.Evidence, er)
	}
	return r, nil
}
