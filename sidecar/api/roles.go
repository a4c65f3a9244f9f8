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

// Who reads what.
const (
	everybody = "viewer support backend settlement policy"
	readers   = "viewer support backend policy"
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
