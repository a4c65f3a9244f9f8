package api

import (
	"net/http"
	"slices"
	"strings"
)

// A Role is what the holder of a token may do.
type Role string

// The roles. docs/control.md has what each is for.
const (
	Viewer     Role = "viewer"
	Support    Role = "support"
	Backend    Role = "backend"
	Settlement Role = "settlement"
	Policy     Role = "policy"
	Admin      Role = "admin"
)

// Roles are all of them.
var Roles = []Role{Viewer, Support, Backend, Settlement, Policy, Admin}

// An Operation is a call of the control API.
type Operation struct {
	ID     string // what OpenAPI calls it
	Method string
	Path   string
	For    string // the roles that may, beside admin, who may everything
	Says   string
}

// Allows tells whether a role may.
func (o Operation) Allows(role Role) bool {
	return role == Admin || role != "" && slices.Contains(strings.Fields(o.For), string(role))
}

// Stops tells whether the call ends payments or a token: it has places of its own.
func (o Operation) Stops() bool {
	return strings.HasPrefix(o.ID, "freeze-") || strings.HasPrefix(o.ID, "revoke-")
}

// Who reads what.
const (
	everybody = "viewer support backend settlement policy"
	readers   = "viewer support backend policy"
	auditors  = "viewer support policy"
	freezers  = "support backend"
)

// Operations is the whole control API, and the only place that says who may what.
// A call that is not here cannot be registered.
var Operations = []Operation{
	{"get-store", http.MethodGet, "/v1/store", everybody, "Say which store this is"},

	{"list-accounts", http.MethodGet, "/v1/accounts", readers, "List accounts"},
	{"get-account", http.MethodGet, "/v1/accounts/{id}", readers, "Look at an account and what remains of its limits"},
	{"put-account", http.MethodPut, "/v1/accounts/{id}", "backend", "Write an account, new or in place of what it was"},
	{"freeze-account", http.MethodPost, "/v1/accounts/{id}/freeze", freezers, "Stop everything that an account pays"},
	{"unfreeze-account", http.MethodPost, "/v1/accounts/{id}/unfreeze", "backend", "Let a frozen account pay again"},
	{"unlock-account", http.MethodPost, "/v1/accounts/{id}/unlock", "support", "Let an account's people be asked for codes again"},

	{"list-terminals", http.MethodGet, "/v1/terminals", readers, "List terminals"},
	{"get-terminal", http.MethodGet, "/v1/terminals/{id}", readers, "Look at a terminal"},
	{"put-terminal", http.MethodPut, "/v1/terminals/{id}", "backend", "Write a terminal, new or in place of what it was"},
	{"list-messages", http.MethodGet, "/v1/terminals/{id}/messages", readers, "List the messages to a terminal and what became of them, without codes"},

	{"list-merchants", http.MethodGet, "/v1/merchants", readers, "List merchants"},
	{"get-merchant", http.MethodGet, "/v1/merchants/{id}", readers, "Look at a merchant"},
	{"put-merchant", http.MethodPut, "/v1/merchants/{id}", "backend", "Write a merchant, new or in place of what it was"},

	{"list-grants", http.MethodGet, "/v1/grants", readers, "List the grants of an account, or to a delegate"},
	{"get-grant", http.MethodGet, "/v1/grants/{id}", readers, "Look at a grant and what remains of its limits"},
	{"offer-grant", http.MethodPut, "/v1/grants/{id}", "backend", "Offer a grant on behalf of the account's owner"},
	{"freeze-grant", http.MethodPost, "/v1/grants/{id}/freeze", freezers, "Stop everything that is paid by a grant"},
	{"unfreeze-grant", http.MethodPost, "/v1/grants/{id}/unfreeze", "backend", "Let a frozen grant pay again"},
	{"revoke-grant", http.MethodPost, "/v1/grants/{id}/revoke", "backend", "End a grant for good"},

	{"list-intents", http.MethodGet, "/v1/intents", readers, "List intents, such as orders and checkouts"},
	{"get-intent", http.MethodGet, "/v1/intents/{id}", readers, "Look at an intent and the states that it had"},

	{"get-challenge", http.MethodGet, "/v1/challenges/{id}", readers, "Look at a challenge, without its codes and what they must be like"},

	{"list-reservations", http.MethodGet, "/v1/reservations", everybody, "List reservations, the open ones for reconciliation"},
	{"get-reservation", http.MethodGet, "/v1/reservations/{id}", everybody, "Look at a reservation"},
	{"post-reservation", http.MethodPost, "/v1/reservations/{id}/post", "settlement", "Say what an open reservation's payment took"},
	{"void-reservation", http.MethodPost, "/v1/reservations/{id}/void", "settlement", "Say that an open reservation's payment was not made"},
	{"mark-reservation-unknown", http.MethodPost, "/v1/reservations/{id}/unknown", "settlement", "Say that nobody knows whether a reservation's payment was made"},
	{"refund-reservation", http.MethodPost, "/v1/reservations/{id}/refund", "settlement", "Say that a part of a posted payment was given back"},

	{"list-records", http.MethodGet, "/v1/records", auditors, "List decisions and changes, the oldest first"},
	{"get-record", http.MethodGet, "/v1/records/{id}", auditors, "Look at a decision or a change, with what it wrote before and after"},

	{"list-tokens", http.MethodGet, "/v1/tokens", "", "List tokens of the control API"},
	{"create-token", http.MethodPost, "/v1/tokens", "", "Make a token, whose secret is told this once"},
	{"revoke-token", http.MethodPost, "/v1/tokens/{id}/revoke", "", "End a token for good"},
}

// operation returns the operation with an ID.
func operation(id string) (Operation, bool) {
	i := slices.IndexFunc(Operations, func(o Operation) bool { return o.ID == id })
	if i < 0 {
		return Operation{}, false
	}
	return Operations[i], true
}
