package api

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/symbol"
)

// An IntentBody is what an intent is for, as whoever may see it is shown it.
type IntentBody struct {
	ID          string            `json:"id"`
	Kind        string            `json:"kind"`
	State       string            `json:"state"`
	AmountMinor int64             `json:"amount_minor,omitempty"`
	Currency    string            `json:"currency,omitempty"`
	Payee       string            `json:"payee,omitempty"`
	Attributes  map[string]string `json:"attributes"`
	// Initiator is who opened it.
	Initiator      authzstore.Identity `json:"initiator"`
	OpenedAtNanos  int64               `json:"opened_at_ns"`
	ExpiresAtNanos int64               `json:"expires_at_ns"`
	Expired        bool                `json:"expired"`
	Closed         bool                `json:"closed"`
}

// An IntentView is an intent as who opened it and those of its account see it: with
// who takes part, how it came to where it is, and its ID as a QR code.
type IntentView struct {
	IntentBody
	System    string            `json:"system"`
	Account   string            `json:"account"`
	Terminal  string            `json:"terminal,omitempty"`
	Terminals []string          `json:"terminals"`
	Parties   map[string]string `json:"parties"`
	Steps     []IntentStep      `json:"steps"`
	QRSVG     string            `json:"qr_svg"`
	QRPNG     []byte            `json:"qr_png"` // base64
	// Token is a secret of who opened it, while it is open: whoever shows it has seen
	// the opener's screen.
	Token      string `json:"token,omitempty"`
	TokenQRSVG string `json:"token_qr_svg,omitempty"`
	TokenQRPNG []byte `json:"token_qr_png,omitempty"`
}

// An IntentStep is when an intent came to a state, by whom and from which terminal.
type IntentStep struct {
	State    string              `json:"state"`
	AtNanos  int64               `json:"at_ns"`
	By       authzstore.Identity `json:"by"`
	Terminal string              `json:"terminal,omitempty"`
}

// intent shows the intent of the call. Somebody whom the policy lets see it, such as an
// agent who has scanned its code, sees what it is for and who opened it.
func (s shower) intent() (any, error) {
	i, ok, err := s.Intent(s.claims.Intent)
	if err != nil || !ok {
		return nil, orUnknown(err)
	}
	body := intentBody(i, s.nowNanos)
	opened := s.caller == i.Initiator
	theirs, err := s.isOfAccount(i)
	if err != nil {
		return nil, err
	}
	if !opened && !theirs {
		return body, nil
	}
	v := IntentView{
		IntentBody: body, System: i.System, Account: i.Account, Terminal: i.Terminal,
		Terminals: orEmpty(i.Terminals), Parties: orNone(i.Parties), Steps: intentSteps(i),
	}
	if v.QRSVG, v.QRPNG, err = qrOf(i.ID); err != nil {
		return nil, err
	}
	if opened && !body.Closed && !body.Expired && s.cfg.IntentToken != nil {
		v.Token = s.cfg.IntentToken(i.ID)
		v.TokenQRSVG, v.TokenQRPNG, err = qrOf(v.Token)
	}
	return v, err
}

// intentIfAny shows the intent that a call has moved, if it has moved one. Who reports
// for others, as a relay does, sees only that: what it is about, who may view it views.
func (s shower) intentIfAny() (any, error) {
	if s.claims.Intent == "" {
		return accepted{}, nil
	}
	shown, err := s.intent()
	if body, stranger := shown.(IntentBody); stranger {
		return Known{body.ID, body.State}, err
	}
	return shown, err
}

// isOfAccount tells whether the caller is the owner of an intent's account, or a bound
// terminal of that account that the intent was opened from or pushed to.
func (s shower) isOfAccount(i authzstore.Intent) (bool, error) {
	account, ok, err := s.Account(i.Account)
	switch {
	case err != nil:
		return false, err
	case ok && s.caller == account.Owner:
		return true, nil
	}
	t, ok, err := s.TerminalAs(s.caller)
	if err != nil || !ok || t.State != authzstore.TerminalBound || t.Account != i.Account {
		return false, err
	}
	return t.ID == i.Terminal || slices.Contains(i.Terminals, t.ID), nil
}

func intentBody(i authzstore.Intent, nowNanos int64) IntentBody {
	return IntentBody{
		ID: i.ID, Kind: i.Kind, State: i.State, AmountMinor: i.AmountMinor, Currency: i.Currency, Payee: i.Payee,
		Attributes: orNone(i.Attributes), Initiator: i.Initiator,
		OpenedAtNanos: i.OpenedAtNanos, ExpiresAtNanos: i.ExpiresAtNanos, Expired: i.ExpiredAt(nowNanos), Closed: i.Closed,
	}
}

func intentSteps(i authzstore.Intent) []IntentStep {
	steps := []IntentStep{}
	for _, step := range i.Steps {
		steps = append(steps, IntentStep{step.State, step.AtNanos, step.By, step.Terminal})
	}
	return steps
}

// qrModulePixels is how large a module is in a picture: a screen shows it sharp.
const qrModulePixels = 8

// qrOf draws a text as a QR code.
func qrOf(text string) (svg string, png []byte, err error) {
	qr, err := symbol.QR(text)
	if err != nil {
		return "", nil, err
	}
	png, err = qr.PNG(qrModulePixels)
	return string(qr.SVG()), png, err
}

// orEmpty and orNone make an empty list and an object without members of what is not
// there, for JSON.
func orEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

func orNone(texts map[string]string) map[string]string {
	if texts == nil {
		return map[string]string{}
	}
	return texts
}
