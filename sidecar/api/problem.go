package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign/countersign/authzstore"
)

// A Problem is an answer that is not what was asked for (RFC 9457). Its type is
// about:blank, so the title is the status's phrase; code says what the problem is.
// It holds no value of a body.
type Problem struct {
	Title  string  `json:"title" doc:"the status's phrase"`
	Status int     `json:"status" doc:"the HTTP status"`
	Code   string  `json:"code" doc:"what the problem is, for programs"`
	Detail string  `json:"detail" doc:"what the problem is, for people"`
	Errors []Fault `json:"errors,omitempty" doc:"what is wrong with the request, each thing with its place"`
}

// A Fault is one thing that is wrong with a request.
type Fault struct {
	Location string `json:"location" doc:"where, such as body.currency"`
	Message  string `json:"message"`
}

func (p *Problem) Error() string {
	text := p.Detail
	for _, f := range p.Errors {
		text += "; " + f.Location + ": " + f.Message
	}
	return text
}

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func problem(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// readable writes the largest amount as people do: huma's bounds are floats.
var readable = strings.NewReplacer("9.007199254740991e+15", "9007199254740991")

// newError makes huma's own complaints ours: without the values that they are
// about.
func newError(status int, detail string, errs ...error) huma.StatusError {
	code, ok := map[int]string{
		http.StatusBadRequest:            "request_malformed",
		http.StatusRequestEntityTooLarge: "body_too_big",
		http.StatusUnsupportedMediaType:  "media_type",
		http.StatusUnprocessableEntity:   "request_invalid",
	}[status]
	if !ok {
		code = "http_" + strconv.Itoa(status)
	}
	p := problem(status, code, detail)
	for _, err := range errs {
		if detailed, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			p.Errors = append(p.Errors, Fault{detailed.Location, readable.Replace(detailed.Message)})
		} else if err != nil {
			p.Errors = append(p.Errors, Fault{"request", err.Error()})
		}
	}
	return p
}

// storeProblems are what setters refuse, and how the caller is told.
var storeProblems = []struct {
	err    error
	status int
	code   string
}{
	{authzstore.ErrUnknownID, http.StatusNotFound, "not_found"},
	{authzstore.ErrState, http.StatusConflict, "wrong_state"},
	{authzstore.ErrResolved, http.StatusConflict, "already_resolved"},
	{authzstore.ErrUsed, http.StatusConflict, "already_used"},
	{authzstore.ErrTooManyDelegates, http.StatusConflict, "too_many_delegates"},
	{authzstore.ErrTooManyTerminals, http.StatusConflict, "too_many_terminals"},
	{authzstore.ErrInvalid, http.StatusUnprocessableEntity, "invalid"},
}

// asProblem tells what a handler's error is to the caller; nil where it is nothing
// that the caller did.
func asProblem(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	for _, known := range storeProblems {
		if errors.Is(err, known.err) {
			return problem(known.status, known.code, strings.ReplaceAll(err.Error(), "authzstore: ", ""))
		}
	}
	return nil
}

// write answers with the problem, outside huma.
func (p *Problem) write(w http.ResponseWriter) {
	body, _ := json.Marshal(p) // texts and a number: it cannot fail
	w.Header().Set("content-type", p.ContentType(""))
	w.Header().Set("cache-control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // who asked may be gone
}

var internalError = problem(http.StatusInternalServerError, "internal_error", "The call hit a defect of the program.")

// answerPanic, deferred, answers a call whose handler panicked. What the panic says may
// quote the call: only its type is logged.
func answerPanic(w http.ResponseWriter, log *slog.Logger) {
	if p := recover(); p != nil {
		log.Error("panic", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		internalError.write(w)
	}
}
