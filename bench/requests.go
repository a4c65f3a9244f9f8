package main

import (
	"fmt"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/countersign/countersign/authzstore"
)

// accountCount is how many accounts pay.
const accountCount = 1000

const (
	maxPaymentMinor = 50000
	frozenID        = "acc_frozen"
)

// owner is the identity of the account's owner.
func owner(account string) authzstore.Identity {
	return authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "owner-of-" + account}
}

// accounts are those that pay and one that is frozen.
func accounts() []authzstore.Account {
	all := make([]authzstore.Account, 0, accountCount+1)
	add := func(id string, state authzstore.AccountState) {
		all = append(all, authzstore.Account{
			ID: id, Owner: owner(id), State: state, Currency: "EUR", MaxPaymentMinor: maxPaymentMinor,
		})
	}
	for i := range accountCount {
		add(accountID(i), authzstore.AccountActive)
	}
	add(frozenID, authzstore.AccountFrozen)
	return all
}

func accountID(i int) string { return fmt.Sprintf("acc_%024d", i) }

// accountData is the accounts as OPA's data, each as the payments policy reads it.
func accountData() map[string]any {
	data := map[string]any{}
	for _, a := range accounts() {
		data[a.ID] = map[string]any{
			"id":                a.ID,
			"owner":             map[string]any{"kind": a.Owner.Kind, "issuer": a.Owner.Issuer, "subject": a.Owner.Subject},
			"state":             string(a.State),
			"currency":          a.Currency,
			"max_payment_minor": a.MaxPaymentMinor,
		}
	}
	return data
}

// A payment is the part of a request that a decision depends on.
type payment struct {
	account     string
	subject     string
	amountMinor int
	currency    string
}

// payments are one of each account, all of them allowed.
func payments() []payment {
	var all []payment
	for i := range accountCount {
		id := accountID(i)
		all = append(all, payment{id, owner(id).Subject, 1250 + i, "EUR"})
	}
	return all
}

// overMaximum is denied.
func overMaximum() payment {
	id := accountID(0)
	return payment{id, owner(id).Subject, maxPaymentMinor + 1, "EUR"}
}

// An encoding is one of the ways in which Envoy can send headers and body.
type encoding int

const (
	// encodeRaw: encode_raw_headers and pack_as_bytes, which Countersign asks for.
	encodeRaw encoding = iota
	// encodeText: a map of headers and a text, which is what OPA's plugin reads.
	encodeText
)

// marshal returns the CheckRequest that Envoy sends about the payment.
func (e encoding) marshal(p payment) ([]byte, error) {
	body := p.body()
	h := &authv3.AttributeContext_HttpRequest{
		Id:       "11620914577226837265",
		Method:   "POST",
		Path:     p.path(),
		Host:     "pay.example",
		Scheme:   "https",
		Protocol: "HTTP/2",
		Size:     int64(len(body)),
	}
	switch e {
	case encodeRaw:
		h.HeaderMap = &corev3.HeaderMap{}
		for _, line := range p.headers(len(body)) {
			h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: line[0], RawValue: []byte(line[1])})
		}
		h.RawBody = []byte(body)
	case encodeText:
		h.Headers = map[string]string{}
		for _, line := range p.headers(len(body)) {
			h.Headers[line[0]] = line[1]
		}
		h.Body = body
	}
	claims, err := structpb.NewStruct(map[string]any{"jwt_payload": map[string]any{
		"iss": "https://id.example", "aud": "payments", "sub": p.subject, "iat": 1790000000, "exp": 1790003600,
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

func (p payment) path() string { return "/v1/accounts/" + p.account + "/payments" }

// body has about 350 bytes; only the first three members are mapped.
func (p payment) body() string {
	return strings.Join([]string{
		`{"payee": "mer_bakery", "amount_minor": ` + strconv.Itoa(p.amountMinor) + `, "currency": "` + p.currency + `",`,
		` "description": "Two loaves and a cake for Saturday",`,
		` "cart": [{"sku": "loaf-rye-750", "name": "Rye loaf, 750 g", "count": 2, "price_minor": 420},`,
		` {"sku": "cake-plum-26", "name": "Plum cake, 26 cm", "count": 1, "price_minor": 2150}],`,
		` "delivery": {"on": "2026-09-05", "pickup": true}}`,
	}, "")
}

// headers are fifteen, pseudo-headers among them, as Envoy lists them.
func (p payment) headers(bodyBytes int) [][2]string {
	return [][2]string{
		{":authority", "pay.example"},
		{":path", p.path()},
		{":method", "POST"},
		{":scheme", "https"},
		{"content-type", "application/json"},
		{"content-length", strconv.Itoa(bodyBytes)},
		{"accept", "application/json"},
		{"accept-encoding", "gzip, br"},
		{"user-agent", "shop-checkout/4.11.2 (linux; go1.26)"},
		{"idempotency-key", "0b9c6f4e-7f6b-4f0e-9d3a-5f6f0c1d2e3f"},
		{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{"x-forwarded-for", "10.1.2.3"},
		{"x-forwarded-proto", "https"},
		{"x-request-id", "6f2b7f0e-8a4e-4c55-9a27-0d8e5f3b1c2d"},
		{"x-envoy-auth-partial-body", "false"},
	}
}

func peer(address string, port uint32) *authv3.AttributeContext_Peer {
	return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
		SocketAddress: &corev3.SocketAddress{
			Address:       address,
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		},
	}}}
}
