package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/countersign/countersign/authzstore"
)

// A workload is what the callers of a cell ask for.
type workload struct {
	name       string // on the command line and in the JSON
	title      string // in the table
	asks       []ask  // all of them allowed; each request is one at random
	denied     ask
	movesMoney bool
}

var (
	quotes = &workload{name: "quote", title: "quote", asks: quoteAsks(), denied: overMaximum(true)}
	cold   = &workload{name: "cold", title: "payment, 1000 accounts", asks: payments(), denied: overMaximum(false), movesMoney: true}
	hot    = &workload{name: "hot", title: "payment, 1 account", asks: payments()[:1], denied: overMaximum(false), movesMoney: true}
)

var workloads = []*workload{quotes, cold, hot}

// base is the workload of plain OPA that this one is compared with. To a server
// without a store, one account is like another.
func (w *workload) base() *workload {
	if w == hot {
		return cold
	}
	return w
}

// accountCount is how many accounts pay.
const accountCount = 1000

const (
	maxPaymentMinor = 50000
	frozenID        = "acc_frozen"
)

// issuer is whose tokens everybody has.
const issuer = "https://id.example"

func identity(kind, subject string) authzstore.Identity {
	return authzstore.Identity{Kind: kind, Issuer: issuer, Subject: subject}
}

// owner is the identity of the account's owner.
func owner(account string) authzstore.Identity {
	return identity("user", "owner-of-"+account)
}

// accounts are those that pay and one that is frozen.
func accounts() []authzstore.Account {
	all := make([]authzstore.Account, 0, accountCount+1)
	add := func(id string, state authzstore.AccountState) {
		all = append(all, authzstore.Account{
			ID: id, Owner: owner(id), State: state, Currency: "EUR", MaxPaymentMinor: maxPaymentMinor,
			// More than any run spends.
			Limits: []authzstore.Limit{{Name: "total", MaxAmountMinor: authzstore.MaxAmountMinor}},
		})
	}
	for i := range accountCount {
		add(accountID(i), authzstore.AccountActive)
	}
	add(frozenID, authzstore.AccountFrozen)
	return all
}

func accountID(i int) string { return fmt.Sprintf("acc_%024d", i) }

// accountData is the accounts as OPA's data, each as the payments policy reads it
// before the first payment.
func accountData() map[string]any {
	data := map[string]any{}
	for _, a := range accounts() {
		limits := []any{}
		for _, l := range a.Limits {
			limits = append(limits, map[string]any{
				"name":   l.Name,
				"amount": map[string]any{"mode": "at_most", "max_minor": l.MaxAmountMinor, "remaining_minor": l.MaxAmountMinor},
				"count":  map[string]any{"mode": "any"},
				"period": map[string]any{"kind": "lifetime"}, "window_full": false,
			})
		}
		data[a.ID] = map[string]any{
			"id":                a.ID,
			"owner":             map[string]any{"kind": a.Owner.Kind, "issuer": a.Owner.Issuer, "subject": a.Owner.Subject},
			"state":             string(a.State),
			"currency":          a.Currency,
			"max_payment_minor": a.MaxPaymentMinor,
			"limits":            limits,
			"delegates":         map[string]any{"open": 0},
		}
	}
	return data
}

// An ask is the part of a request that a decision depends on.
type ask struct {
	account     string // empty for a quote
	subject     string
	amountMinor int
	currency    string
}

// payments are one of each account.
func payments() []ask {
	var all []ask
	for i := range accountCount {
		id := accountID(i)
		all = append(all, ask{id, owner(id).Subject, 1250 + i, "EUR"})
	}
	return all
}

// quoteAsks are one of each account's owner.
func quoteAsks() []ask {
	all := payments()
	for i := range all {
		all[i].account = ""
	}
	return all
}

// overMaximum is denied.
func overMaximum(quote bool) ask {
	over := ask{accountID(0), owner(accountID(0)).Subject, maxPaymentMinor + 1, "EUR"}
	if quote {
		over.account = ""
	}
	return over
}

// An encoding is one of the ways in which Envoy can send headers and body.
type encoding int

const (
	// encodeRaw: encode_raw_headers and pack_as_bytes, which Countersign asks for.
	encodeRaw encoding = iota
	// encodeText: a map of headers and a text, which is what OPA's plugin reads.
	encodeText
)

const streamID = "11620914577226837265"

// An httpCall is a call as Envoy gets it.
type httpCall struct {
	method, path string
	subject      string // of the verified token
	key          string // for idempotency; empty for none
	body         string
	streamID     string // Envoy's own: the same where it asks again
}

// marshal returns the CheckRequest that Envoy sends about the call.
func (e encoding) marshal(c httpCall) ([]byte, error) {
	h := &authv3.AttributeContext_HttpRequest{
		Id:       c.streamID,
		Method:   c.method,
		Path:     c.path,
		Host:     "pay.example",
		Scheme:   "https",
		Protocol: "HTTP/2",
		Size:     int64(len(c.body)),
	}
	switch e {
	case encodeRaw:
		h.HeaderMap = &corev3.HeaderMap{}
		for _, line := range c.headers() {
			h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: line[0], RawValue: []byte(line[1])})
		}
		h.RawBody = []byte(c.body)
	case encodeText:
		h.Headers = map[string]string{}
		for _, line := range c.headers() {
			h.Headers[line[0]] = line[1]
		}
		h.Body = c.body
	}
	claims, err := structpb.NewStruct(map[string]any{"jwt_payload": map[string]any{
		"iss": issuer, "aud": "payments", "sub": c.subject, "iat": 1790000000, "exp": 1790003600,
	}})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      peer("10.1.2.3", 51234),
		Destination: peer("10.1.2.4", 8443),
		Request: &authv3.AttributeContext_Request{
			Time: &timestamppb.Timestamp{Seconds: 1790000012, Nanos: 345678000},
			Http: h,
		},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"envoy.filters.http.jwt_authn": claims,
		}},
	}})
}

// blankKey is the idempotency key of a request as it is marshalled: as long as
// those that are sent.
const blankKey = "0b9c6f4e-7f6b-4f0e-9d3a-000000000000"

// A template is a marshalled request, but for its idempotency key.
type template struct {
	request []byte
	keyAt   int
}

func (e encoding) template(a ask) (template, error) {
	request, err := e.marshal(a.call())
	if err != nil {
		return template{}, err
	}
	at := bytes.Index(request, []byte(blankKey))
	if at < 0 || bytes.Contains(request[at+1:], []byte(blankKey)) {
		return template{}, errors.New("the idempotency key is not once in the request")
	}
	return template{request, at}, nil
}

// keys counts the requests of this process.
var keys atomic.Uint64

// fresh returns the request under a key that no other request has: every call
// that moves money is a new one.
func (t template) fresh() []byte {
	request := bytes.Clone(t.request)
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], keys.Add(1))
	const digits = 12 // of hexadecimal, at the end of the key
	end := t.keyAt + len(blankKey)
	hex.Encode(request[end-digits:end], count[8-digits/2:])
	return request
}

func (a ask) path() string {
	if a.account == "" {
		return "/v1/quotes"
	}
	return "/v1/accounts/" + a.account + "/payments"
}

func (a ask) call() httpCall {
	return httpCall{method: http.MethodPost, path: a.path(), subject: a.subject, key: blankKey, body: a.body(), streamID: streamID}
}

// body has about 350 bytes; only the first three members are mapped.
func (a ask) body() string { return fullBody(payment(a.amountMinor, a.currency)) }

// payment are the members of a body that say what is paid.
func payment(amountMinor int, currency string) string {
	return `"payee": "mer_bakery", "amount_minor": ` + strconv.Itoa(amountMinor) + `, "currency": "` + currency + `"`
}

// fullBody is a body with these members, and with what a shop sends besides.
func fullBody(members string) string {
	return strings.Join([]string{
		`{` + members + `,`,
		` "description": "Two loaves and a cake for Saturday",`,
		` "cart": [{"sku": "loaf-rye-750", "name": "Rye loaf, 750 g", "count": 2, "price_minor": 420},`,
		` {"sku": "cake-plum-26", "name": "Plum cake, 26 cm", "count": 1, "price_minor": 2150}],`,
		` "delivery": {"on": "2026-09-05", "pickup": true}}`,
	}, "")
}

// headers are fifteen, pseudo-headers among them, as Envoy lists them; one less
// without a key, and two without a body.
func (c httpCall) headers() [][2]string {
	all := [][2]string{
		{":authority", "pay.example"},
		{":path", c.path},
		{":method", c.method},
		{":scheme", "https"},
	}
	if c.body != "" {
		all = append(all, [2]string{"content-type", "application/json"}, [2]string{"content-length", strconv.Itoa(len(c.body))})
	}
	all = append(all, [][2]string{
		{"accept", "application/json"},
		{"accept-encoding", "gzip, br"},
		{"user-agent", "shop-checkout/4.11.2 (linux; go1.26)"},
	}...)
	if c.key != "" {
		all = append(all, [2]string{"idempotency-key", c.key})
	}
	return append(all, [][2]string{
		{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{"x-forwarded-for", "10.1.2.3"},
		{"x-forwarded-proto", "https"},
		{"x-request-id", "6f2b7f0e-8a4e-4c55-9a27-0d8e5f3b1c2d"},
		{"x-envoy-auth-partial-body", "false"},
	}...)
}

func peer(address string, port uint32) *authv3.AttributeContext_Peer {
	return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
		SocketAddress: &corev3.SocketAddress{
			Address:       address,
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		},
	}}}
}
