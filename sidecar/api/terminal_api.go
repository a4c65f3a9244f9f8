package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/symbol"
	"github.com/countersign/countersign/sidecar/upstream"
)

// TerminalPrefix starts the path of every call of the terminal API.
const TerminalPrefix = "/countersign/v1/"

// TerminalConfig is what a TerminalAPI needs. All of it is needed but Messages,
// IntentToken and Log.
type TerminalConfig struct {
	// Store that it shows.
	Store *authzstore.Store
	// Verifier of the tokens that the sidecar signs for itself.
	Verifier *upstream.Verifier
	// Now is the time by which what remains is told.
	Now func() (time.Time, error)
	// ParametersURI opens a credential and returns its parameters as an otpauth://
	// URI, which holds the secret.
	ParametersURI func(authzstore.Credential) (string, error)
	// IntentToken is the token of the intent with an ID, a secret of who opened it.
	// Nil: intents have none.
	IntentToken func(intentID string) string
	// Messages answers the operation [upstream.StreamMessages]: it sends the messages to
	// a terminal until the caller, its session (nanoseconds since 1970-01-01 UTC; 0: it
	// does not say) or the server ends. With an error it has written nothing. Nil: there
	// is no such thing.
	Messages func(w http.ResponseWriter, r *http.Request, terminal string, caller authzstore.Identity, sessionEndsNanos int64) error
	// Log receives what went wrong, and no values of a call. Nil means
	// slog.Default.
	Log *slog.Logger
}

// TerminalAPI answers the calls of owners and delegates that a check has let
// through and carried out. Who calls, what was done and with what comes from the
// signed token alone; it decides and changes nothing, and shows what is stored.
type TerminalAPI struct{ TerminalConfig }

// NewTerminalAPI returns the API.
func NewTerminalAPI(cfg TerminalConfig) *TerminalAPI {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &TerminalAPI{cfg}
}

// Server returns a server of the API.
func (t *TerminalAPI) Server() *http.Server {
	return &http.Server{
		Handler:        t,
		ReadTimeout:    requestTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxTerminalHeaderBytes,
	}
}

// maxTerminalHeaderBytes has room for two tokens, ours and the caller's.
const maxTerminalHeaderBytes = 64 << 10

// ServeHTTP answers one request.
func (t *TerminalAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer answerPanic(w, t.Log)
	w.Header().Set("x-content-type-options", "nosniff")
	if !strings.HasPrefix(r.URL.Path, TerminalPrefix) {
		problem(http.StatusNotFound, "not_found", "There is nothing by that path.").write(w)
		return
	}
	claims, _, err := t.Verifier.Admit(w, r, maxBodyBytes)
	if err != nil {
		t.refuse(w, err)
		return
	}
	if claims.Does == upstream.StreamMessages {
		err = t.stream(w, r, claims)
	} else {
		err = t.answer(w, r, claims)
	}
	if refusal, ok := errors.AsType[*upstream.Refusal](err); ok {
		t.refuse(w, refusal)
	} else if p := asProblem(err); p != nil {
		p.write(w)
	} else if err != nil {
		t.Log.ErrorContext(r.Context(), "what was decided cannot be shown", "operation", claims.Does, "decision_id", claims.DecisionID, "error", err)
		problem(http.StatusServiceUnavailable, "store_unavailable", "It was done, but cannot be shown now. Repeat the call under the same idempotency key.").write(w)
	}
}

// answer shows what became of a call. With an error it has written nothing.
func (t *TerminalAPI) answer(w http.ResponseWriter, r *http.Request, claims upstream.Claims) error {
	shown, err := t.show(r.Context(), claims, r.URL.Query())
	if err != nil {
		return err
	}
	status := http.StatusOK
	if made := claims.Does == "offer_grant" || claims.Does == "store_code"; made {
		status = http.StatusCreated
	} else if _, taken := shown.(accepted); taken {
		status = http.StatusAccepted
	}
	return writeJSON(w, status, shown)
}

// refuse answers a call without a good token, or one that is refused here.
func (t *TerminalAPI) refuse(w http.ResponseWriter, err error) {
	refusal, ok := errors.AsType[*upstream.Refusal](err)
	if !ok {
		internalError.write(w)
		return
	}
	t.Log.Warn("call refused", "code", refusal.Code, "cause", refusal.Error())
	if refusal.Status == http.StatusServiceUnavailable {
		w.Header().Set("retry-after", "1")
	}
	problem(refusal.Status, refusal.Code, refusal.Message).write(w)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var text bytes.Buffer
	if err := jsonFormat.Marshal(&text, v); err != nil {
		return err
	}
	w.Header().Set("content-type", "application/json")
	w.Header().Set("cache-control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // who asked may be gone
	return nil
}

// A shower shows the outcome of one call.
type shower struct {
	authzstore.Snapshot
	cfg      TerminalConfig
	claims   upstream.Claims
	caller   authzstore.Identity
	query    PageQuery
	nowNanos int64
}

var (
	errNotBuiltIn = problem(http.StatusForbidden, "token_not_for_us", "The call's token is for a payment, or for an operation that is not shown here.")
	errQuery      = problem(http.StatusBadRequest, "query_invalid", "limit is from 1 to 200, and after what a page said.")
)

// views show the outcome of each built-in operation, but of StreamMessages.
var views = map[string]func(shower) (any, error){
	"fetch_parameters": shower.parameters,
	"list_grants":      shower.grants,
	"list_delegations": shower.delegations,

	"offer_grant": shower.grant, "accept_grant": shower.grant, "decline_grant": shower.grant, "change_grant": shower.grant,
	"unfreeze_grant": shower.grant, "reissue_parameters": shower.grant, "view_grant": shower.grant,
	"freeze_grant": shower.stoppedGrant, "revoke_grant": shower.stoppedGrant, "end_grant": shower.stoppedGrant,

	"view_account": shower.account, "unfreeze_account": shower.account, "unlock_verification": shower.account,
	"freeze_account": shower.stoppedAccount,

	"enter_code":           shower.nothing,
	"approve_challenge":    shower.challenge,
	"reject_challenge":     shower.challenge,
	"view_challenge":       shower.challenge,
	"view_intent":          shower.intent,
	"act_on_intent":        shower.intentIfAny,
	"store_code":           shower.storedCode,
	"acknowledge_messages": shower.acknowledged,
}

// show reads what the call may see, in one snapshot.
func (t *TerminalAPI) show(ctx context.Context, claims upstream.Claims, query url.Values) (shown any, err error) {
	view, ok := views[claims.Does]
	if !ok {
		return nil, errNotBuiltIn
	}
	now, err := t.Now()
	if err != nil {
		return nil, errClock
	}
	s := shower{cfg: t.TerminalConfig, claims: claims, caller: authzstore.Identity(claims.Identity), nowNanos: now.UnixNano()}
	if s.query, err = pageOf(query); err != nil {
		return nil, err
	}
	err = t.Store.View(ctx, func(snapshot authzstore.Snapshot) (err error) {
		s.Snapshot = snapshot
		shown, err = view(s)
		return err
	})
	return shown, err
}

// accepted is the answer that says nothing but that the call was taken.
type accepted struct{}

// nothing is what an entry of a code is answered, whoever sends it, and also where
// there is no such challenge.
func (s shower) nothing() (any, error) { return accepted{}, nil }

func pageOf(query url.Values) (PageQuery, error) {
	page := PageQuery{Limit: DefaultPage, After: query.Get("after")}
	if limit := query.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > MaxPage {
			return page, errQuery
		}
		page.Limit = n
	}
	return page, nil
}

// A Delegation is a grant as its delegate sees it: what it allows and what remains
// of that, and nothing of the account's own limits.
type Delegation struct {
	ID              string                `json:"id"`
	State           authzstore.GrantState `json:"state"`
	Owner           authzstore.Identity   `json:"owner"`
	Terms           authzstore.Terms      `json:"terms"`
	OfferedAtNanos  int64                 `json:"offered_at_ns"`
	AcceptedAtNanos int64                 `json:"accepted_at_ns,omitempty"`
	ClosedAtNanos   int64                 `json:"closed_at_ns,omitempty"`
	// ParametersWait: there are parameters for payment codes that nobody has
	// fetched.
	ParametersWait bool   `json:"parameters_wait"`
	Remaining      []Room `json:"remaining"`
}

// A Known is what somebody sees whom the policy let call, and who is neither the
// owner nor the delegate.
type Known struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

// grant shows the grant of the call to who calls.
func (s shower) grant() (any, error) {
	g, ok, err := s.Grant(s.claims.Grant)
	if err != nil || !ok {
		return nil, orUnknown(err)
	}
	return s.asSeen(g)
}

func (s shower) asSeen(g authzstore.Grant) (any, error) {
	// The owner is the account's of today: g has the one of when it was offered.
	account, _, err := s.Account(g.Account)
	if err != nil {
		return nil, err
	}
	switch s.caller {
	case account.Owner:
		return showGrant(s.Reader, g, s.nowNanos)
	case g.Delegate:
		return s.delegation(g)
	}
	return Known{g.ID, string(g.State)}, nil
}

func (s shower) delegation(g authzstore.Grant) (Delegation, error) {
	shown, err := showGrant(s.Reader, g, s.nowNanos)
	if err != nil {
		return Delegation{}, err
	}
	waits := false
	if g.Handle != "" {
		c, ok, err := s.Credential(g.Handle)
		if err != nil {
			return Delegation{}, err
		}
		waits = ok && !c.Ended && c.FetchedBy == ""
	}
	return Delegation{
		ID: g.ID, State: g.State, Owner: g.Owner, Terms: g.Terms,
		OfferedAtNanos: g.OfferedAtNanos, AcceptedAtNanos: g.AcceptedAtNanos, ClosedAtNanos: g.ClosedAtNanos,
		ParametersWait: waits, Remaining: shown.Remaining,
	}, nil
}

// account shows the account of the call to its owner.
func (s shower) account() (any, error) {
	a, ok, err := s.Account(s.claims.Account)
	if err != nil || !ok {
		return nil, orUnknown(err)
	}
	if a.Owner != s.caller {
		return Known{a.ID, string(a.State)}, nil
	}
	return showAccount(s.Reader, a, s.nowNanos)
}

func (s shower) stoppedAccount() (any, error) { return s.stopped(s.account()) }
func (s shower) stoppedGrant() (any, error)   { return s.stopped(s.grant()) }

// stopped adds what is still open to what was frozen or ended.
func (s shower) stopped(now any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	account, grant := s.claims.Account, s.claims.Grant
	switch now.(type) {
	case Known:
		return Frozen[any]{now, Page[Reservation]{Items: []Reservation{}}}, nil
	case Account:
		grant = ""
	default:
		g, _, err := s.Grant(grant)
		if err != nil {
			return nil, err
		}
		account = g.Account
	}
	q := ReservationQuery{PageQuery: PageQuery{Limit: MaxPage}, State: "open", Account: account, Grant: grant}
	open, next, err := q.read(s.Snapshot, s.nowNanos)
	if _, isDelegate := now.(Delegation); isDelegate {
		for i := range open {
			open[i].Counted = nil // names limits of the account
		}
	}
	return Frozen[any]{now, newPage(open, next).Body}, err
}

// grants lists those of an account to its owner.
func (s shower) grants() (any, error) {
	grants, next, err := s.GrantsFrom(s.claims.Account, s.query.After, s.query.Limit)
	return s.page(grants, next, err, s.asSeen)
}

// delegations lists those to who calls.
func (s shower) delegations() (any, error) {
	grants, next, err := s.GrantsOf(s.caller, s.query.After, s.query.Limit)
	return s.page(grants, next, err, func(g authzstore.Grant) (any, error) { return s.delegation(g) })
}

func (s shower) page(grants []authzstore.Grant, next string, err error, show func(authzstore.Grant) (any, error)) (any, error) {
	if err != nil {
		return nil, err
	}
	shown := []any{}
	for _, g := range grants {
		v, err := show(g)
		if err != nil {
			return nil, err
		}
		shown = append(shown, v)
	}
	return Page[any]{shown, next}, nil
}

// Parameters are what a delegate's device makes payment codes from. They hold the
// secret: they are told to the delegate alone, for the decision that fetched them,
// until the first code was used.
type Parameters struct {
	Grant string `json:"grant"`
	URI   string `json:"uri"`    // otpauth://
	QR    string `json:"qr_svg"` // of the URI, as SVG
}

var errFetched = problem(http.StatusConflict, "parameters_fetched", "The parameters of this grant were obtained before. The owner can have new ones issued.")

func (s shower) parameters() (any, error) {
	g, ok, err := s.Grant(s.claims.Grant)
	if err != nil || !ok {
		return nil, orUnknown(err)
	}
	if g.Delegate != s.caller || g.Handle == "" {
		return nil, errFetched
	}
	c, ok, err := s.Credential(g.Handle)
	if err != nil {
		return nil, err
	}
	if !ok || c.Ended || c.FirstUsed || c.FetchedBy != s.claims.DecisionID {
		return nil, errFetched
	}
	text, err := s.cfg.ParametersURI(c)
	if err != nil {
		return nil, err
	}
	qr, err := symbol.QR(text)
	return Parameters{g.ID, text, string(qr.SVG())}, err
}
