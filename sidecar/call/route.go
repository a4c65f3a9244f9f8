package call

import (
	"slices"
	"time"

	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// A Table holds the routes of every system. It never changes.
type Table struct{ routes []*Route }

// A Route says what the requests of one method and path mean.
type Route struct {
	System    string
	Operation string
	// Does is the built-in operation that an allow of the call carries out, a key of
	// [BuiltIns]; "" for a call that a service behind Envoy carries out.
	Does string
	// MovesMoney is `moves_money`, by default whether the route maps an amount. An
	// allow of such a route holds one reservation.
	MovesMoney bool
	Identities []IdentitySource // a call has one of them
	Fields     []Field          // what the policy sees, in the order of their names
	Secrets    []Secret         // in the order of their names
	Facts      []Fact           // in the order in which they are followed
	Upstream   Upstream

	match       match
	headers     []string // that some field stands in
	query       []string // parameters that some field stands in
	form        []string // the same of the body
	json        bool     // some field stands in a body of JSON
	members     *members // of a closed body, nil for an open one
	needsKey    bool     // a retry of the call must be known
	idempotency *place   // where the key stands, nil for a route without
}

// A Field is one field of the canonical call and where it stands.
type Field struct {
	Name     string
	Type     Type
	Personal bool // its value is a token that stands for the personal one
	Optional bool // it may be absent
	decimal  bool // an amount in major units
	at       place
}

// From says where the field stands, as in the route table: "json /payee".
func (f Field) From() string { return f.at.String() }

// A Secret is a secret field and where it stands. Its value goes to the evidence
// that it is, and never into an input, a record, a log or the fingerprint.
type Secret struct {
	Name     string
	Evidence string // the kind of evidence, from the Vocabulary given to Load
	Optional bool
	at       place
}

// From says where the secret stands.
func (s Secret) From() string { return s.at.String() }

// Upstream is what a route promises of the service behind it.
type Upstream struct {
	Audience   string // of the token that goes upstream; a route that moves money has one
	Idempotent bool   // it runs a reservation once, so an allow may be forwarded again
	// Expires is how long after an allow its reservation is settled at the latest; of
	// one that is not, nobody knows what became of it. 0 where no money moves.
	Expires time.Duration
}

// Bounds of Upstream.Expires, and what it is where the table does not say.
const (
	DefaultExpires = 24 * time.Hour
	minExpires     = time.Minute
	maxExpires     = 90 * 24 * time.Hour
)

// A Type is what values a field has.
type Type int

// The types of fields.
const (
	Text       Type = iota // 1 to 256 bytes without control characters
	Integer                // from −(2^53−1) to 2^53−1
	Boolean                // true or false
	Amount                 // minor units, from 1 to 2^53−1
	Currency               // an ISO 4217 alphabetic code
	GrantTerms             // a grant's terms ([authzstore.Terms]), as JSON
)

func (t Type) String() string {
	return [...]string{"text", "integer", "boolean", "amount", "currency", "grant_terms"}[t]
}

// Fields that have one meaning in every system.
const (
	fieldAccount  = "account"
	fieldPayee    = "payee"
	fieldAmount   = "amount_minor"
	fieldCurrency = "currency"
	fieldGrant    = "grant"
	fieldTerms    = "terms"

	fieldDelegateKind    = "delegate_kind"
	fieldDelegateIssuer  = "delegate_issuer"
	fieldDelegateSubject = "delegate_subject"

	fieldIntent    = "intent"
	fieldTerminal  = "terminal"
	fieldChallenge = "challenge"
	fieldUpTo      = "up_to"            // a message's number
	fieldMaxAmount = "max_amount_minor" // of a code agreed in advance, minor units
)

// wellKnown are their types.
var wellKnown = map[string]Type{
	fieldAccount: Text, fieldPayee: Text, fieldAmount: Amount, fieldCurrency: Currency, fieldGrant: Text, fieldTerms: GrantTerms,
	fieldDelegateKind: Text, fieldDelegateIssuer: Text, fieldDelegateSubject: Text,
	fieldIntent: Text, fieldTerminal: Text, fieldChallenge: Text, fieldUpTo: Integer, fieldMaxAmount: Amount,
}

// asTheyAre are well-known fields that a token cannot stand for.
var asTheyAre = []string{
	fieldGrant, fieldDelegateKind, fieldDelegateIssuer, fieldDelegateSubject, fieldIntent, fieldTerminal, fieldChallenge,
}

// moneyFields are those that a route which moves money has, beside whose money it is,
// or that an intent brings.
var moneyFields = []string{fieldAmount, fieldCurrency, fieldPayee}

// The kinds of evidence that every sidecar knows.
const (
	PaymentCode   = "payment_code"   // by which a delegate pays; it leads to a grant
	StoredCode    = "stored_code"    // agreed in advance with an account's people
	IntentToken   = "intent_token"   // shown to who sees the intent's graphic code
	ChallengeCode = "challenge_code" // sent to a terminal; of enter_code alone
)

// leadsNowhere are the kinds that are about what the call leads to anyway.
var leadsNowhere = []string{StoredCode, IntentToken, ChallengeCode}

// A Vocabulary is what route tables may name that other packages know.
type Vocabulary struct {
	Evidence []string // kinds of evidence that a secret field can be, beside those above
	// Audiences are those that tokens can be signed for. Nil means that nobody
	// can say yet.
	Audiences []string
}

// PaysByGrant tells whether the money that the route moves is a grant's.
func (r *Route) PaysByGrant() bool {
	return r.MovesMoney && r.Writes(FactGrant)
}

// Systems returns the systems that have routes, sorted.
func (t *Table) Systems() []string {
	var systems []string
	for _, r := range t.routes {
		systems = append(systems, r.System)
	}
	slices.Sort(systems)
	return slices.Compact(systems)
}

// Routes returns all routes, in the order of systems and files.
func (t *Table) Routes() []*Route { return slices.Clone(t.routes) }

// KeyFrom says where the idempotency key stands, "" where the route takes none.
func (r *Route) KeyFrom() string {
	if r.idempotency == nil {
		return ""
	}
	return r.idempotency.String()
}

// Field returns the field of this name.
func (r *Route) Field(name string) (Field, bool) {
	i := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return r.Fields[i], true
}

// members are the names that an object of a closed body may have.
type members struct{ names map[string]*members }

// permit notes the way to a value.
func (m *members) permit(pointer strictjson.Pointer) {
	for _, name := range pointer.Names() {
		if m.names == nil {
			m.names = map[string]*members{}
		}
		if m.names[name] == nil {
			m.names[name] = &members{}
		}
		m = m.names[name]
	}
}

// hold tells whether v and what is inside it has no member but these. What stands
// where a field is expected is the field's to judge.
func (m *members) hold(v strictjson.Value) bool {
	if len(m.names) == 0 {
		return true
	}
	if v.Kind() != strictjson.Object {
		return false
	}
	for name, member := range v.Members() {
		inside, known := m.names[name]
		if !known || !inside.hold(member) {
			return false
		}
	}
	return true
}
