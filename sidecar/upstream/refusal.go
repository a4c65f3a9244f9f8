package upstream

import (
	"encoding/json"
	"net/http"
)

// A Refusal is why a call was not run, as the caller is told.
type Refusal struct {
	Status  int    // 400 to 599
	Code    string // snake_case, stable
	Message string
	// Cause is for the service's log: what exactly was wrong. It holds no part of
	// a token.
	Cause error
}

func (r *Refusal) Error() string {
	if r.Cause == nil {
		return r.Code + ": " + r.Message
	}
	return r.Code + ": " + r.Cause.Error()
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

func (r *Refusal) because(cause error) *Refusal {
	with := *r
	with.Cause = cause
	return &with
}

// Everything that is refused. docs/upstream.md says what to do about each.
var (
	tokenMissing = &Refusal{Status: http.StatusForbidden, Code: "token_missing",
		Message: "The call carries no token: it did not come through Countersign."}
	tokenInvalid = &Refusal{Status: http.StatusForbidden, Code: "token_invalid",
		Message: "The call's token is not one that this service takes."}
	tokenNotForUs = &Refusal{Status: http.StatusForbidden, Code: "token_not_for_us",
		Message: "The call's token is for another service, or by another issuer."}
	tokenExpired = &Refusal{Status: http.StatusServiceUnavailable, Code: "token_expired",
		Message: "The call was under way for too long. Repeat it under the same idempotency key."}
	tokenEarly = &Refusal{Status: http.StatusServiceUnavailable, Code: "token_not_yet_valid",
		Message: "The call's token is from the future. Repeat the call under the same idempotency key."}
	callChanged = &Refusal{Status: http.StatusForbidden, Code: "call_changed",
		Message: "The call is not the one that was allowed."}
	bodyTooBig = &Refusal{Status: http.StatusRequestEntityTooLarge, Code: "body_too_big",
		Message: "The body is longer than what can have been allowed."}
	bodyUnreadable = &Refusal{Status: http.StatusBadRequest, Code: "body_unreadable",
		Message: "The body could not be read to its end."}

	executionRunning = &Refusal{Status: http.StatusConflict, Code: "execution_running",
		Message: "The payment is being made. Repeat the call for its answer."}
	executionUnknown = &Refusal{Status: http.StatusConflict, Code: "execution_unknown",
		Message: "The payment was begun, and it is not known whether it was made. It will not be made again by itself."}
	reservationReused = &Refusal{Status: http.StatusUnprocessableEntity, Code: "reservation_reused",
		Message: "The call's reservation belongs to another payment."}
	executionUnavailable = &Refusal{Status: http.StatusServiceUnavailable, Code: "execution_unavailable",
		Message: "It cannot be told whether the payment was made before. It was not made now."}
	answerTooBig = &Refusal{Status: http.StatusInternalServerError, Code: "answer_too_big",
		Message: "The payment was made, but the answer is longer than what can be kept."}
)

// A problem document (RFC 9457). The type is about:blank, so the title is the
// status's phrase; code says what the problem is.
type problemJSON struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	// DecisionID is empty where no good token said it.
	DecisionID string `json:"decision_id,omitempty"`
}

// answer is the refusal as an answer to the caller.
func (r *Refusal) answer(decisionID string) Answer {
	// Texts and a number: it cannot fail.
	body, _ := json.Marshal(problemJSON{http.StatusText(r.Status), r.Status, r.Message, r.Code, decisionID})
	header := http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}}
	if r.Status == http.StatusServiceUnavailable || r.Code == executionRunning.Code {
		header.Set("Retry-After", "1")
	}
	return Answer{r.Status, header, body}
}
