package call_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/call"
)

const (
	goodPath = "/v1/accounts/acc_anna/payments"
	goodBody = `{"payee":"mer_bakery","amount_minor":1250,"currency":"EUR"}`
	issuer   = "https://id.example"
)

// builtIn returns the route table that is built into the binary.
func builtIn(t testing.TB) *call.Table {
	t.Helper()
	table, err := call.Load(policies.FS, call.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// loadYAML loads a table of one system, pay.
func loadYAML(yaml string) (*call.Table, error) { return loadWith(yaml, call.Vocabulary{}) }

func loadWith(yaml string, v call.Vocabulary) (*call.Table, error) {
	return call.Load(fstest.MapFS{"systems/pay/routes.yaml": {Data: []byte(yaml)}}, v)
}

func mustLoadYAML(t testing.TB, yaml string) *call.Table {
	t.Helper()
	table, err := loadYAML(yaml)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// keys has what a table with personal fields needs.
var keys = call.Keys{Personal: []byte("0123456789abcdef0123456789abcdef")}

func decode(table *call.Table, req call.Request) (call.Call, error) { return table.Decode(req, keys) }

func claims(subject string) map[string]any {
	return map[string]any{"iss": issuer, "sub": subject, "exp": 1795532400.0}
}

// post returns a request as a well-behaved client sends it.
func post(path, body string) call.Request {
	return call.Request{
		Method:    "POST",
		Authority: "pay.example",
		Path:      path,
		Headers: []call.Header{
			{Name: ":method", Value: []byte("POST")},
			{Name: "content-type", Value: []byte("application/json")},
			{Name: "content-length", Value: []byte(strconv.Itoa(len(body)))},
			{Name: "idempotency-key", Value: []byte("key-1")},
		},
		Body:   []byte(body),
		Claims: claims("anna"),
	}
}

func good() call.Request { return post(goodPath, goodBody) }

// with returns the good request, changed.
func with(change func(*call.Request)) call.Request {
	req := good()
	change(&req)
	return req
}

// set puts a header in place of all of its name.
func set(name, value string) func(*call.Request) {
	return func(req *call.Request) {
		remove(name)(req)
		add(name, value)(req)
	}
}

func add(name, value string) func(*call.Request) {
	return func(req *call.Request) {
		req.Headers = append(req.Headers, call.Header{Name: name, Value: []byte(value)})
	}
}

func remove(name string) func(*call.Request) {
	return func(req *call.Request) {
		req.Headers = slices.DeleteFunc(req.Headers, func(h call.Header) bool { return h.Name == name })
	}
}

// refusal decodes a request that must be refused.
func refusal(t testing.TB, table *call.Table, req call.Request) *call.Refusal {
	t.Helper()
	c, err := decode(table, req)
	if err == nil {
		t.Fatalf("accepted as %s %v", c.Route.Operation, c.Fields)
	}
	var r *call.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("the error is a %T, not a *Refusal: %v", err, err)
	}
	if c.Route != nil || c.Fields != nil || c.Identity != (authzstore.Identity{}) {
		t.Errorf("a refused request still gave a call: %+v", c)
	}
	if r.Status < 400 || r.Status > 499 || r.Code == "" || r.Message == "" {
		t.Errorf("the refusal is not complete: %+v", r)
	}
	return r
}

func wantRefusal(t *testing.T, req call.Request, status int, code string) {
	t.Helper()
	if r := refusal(t, builtIn(t), req); r.Status != status || r.Code != code {
		t.Errorf("refused with %d %s, want %d %s", r.Status, r.Code, status, code)
	}
}

// A good request becomes the call that the route describes, whole.
func TestDecode(t *testing.T) {
	c, err := decode(builtIn(t), good())
	if err != nil {
		t.Fatal(err)
	}
	if c.Route.System != "direct_payment" || c.Route.Operation != "pay" || !slices.Equal(c.Route.Facts, []call.Fact{{Name: "account", Write: true}}) {
		t.Errorf("route: %+v", c.Route)
	}
	if want := (authzstore.Identity{Kind: "user", Issuer: issuer, Subject: "anna"}); c.Identity != want {
		t.Errorf("identity %+v, want %+v", c.Identity, want)
	}
	var names []string
	for i, field := range c.Route.Fields {
		names = append(names, field.Name)
		if isAmount := field.Name == "amount_minor"; (field.Type == call.Amount) != isAmount || isAmount != (c.Fields[i].Int != 0) {
			t.Errorf("%s: amount %v, value %+v", field.Name, (field.Type == call.Amount), c.Fields[i])
		}
	}
	if want := []string{"account", "amount_minor", "currency", "payee"}; !slices.Equal(names, want) {
		t.Errorf("fields %v, want %v", names, want)
	}
	want := []call.Value{{Text: "acc_anna"}, {Int: 1250}, {Text: "EUR"}, {Text: "mer_bakery"}}
	if !slices.Equal(c.Fields, want) {
		t.Errorf("values %+v, want %+v", c.Fields, want)
	}
	if c.Text("payee") != "mer_bakery" || c.Text("amount_minor") != "" || c.Text("nothing") != "" {
		t.Errorf("Text: %q, %q, %q", c.Text("payee"), c.Text("amount_minor"), c.Text("nothing"))
	}
}

// Every code that Decode refuses with, but those of fields and paths, which have
// tables of their own.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*call.Request)
		status int
		code   string
	}{
		{"other method", func(r *call.Request) { r.Method = "GET" }, 403, "no_route"},
		{"method in lower case", func(r *call.Request) { r.Method = "post" }, 403, "no_route"},
		{"no method", func(r *call.Request) { r.Method = "" }, 403, "no_route"},
		{"other path", func(r *call.Request) { r.Path = "/v1/refunds" }, 403, "no_route"},
		{"empty segment", func(r *call.Request) { r.Path = "/v1//payments" }, 400, "path_not_canonical"},
		{"query", func(r *call.Request) { r.Path += "?amount_minor=1" }, 400, "query_unexpected"},
		{"two hosts", func(r *call.Request) { r.Authority = "pay.example,evil.example" }, 400, "authority_ambiguous"},
		{"upgrade", add("upgrade", "websocket"), 400, "upgrade_unexpected"},
		{"no claims", func(r *call.Request) { r.Claims = nil }, 401, "identity_missing"},
		{"no issuer", func(r *call.Request) { delete(r.Claims, "iss") }, 401, "identity_missing"},
		{"other issuer", func(r *call.Request) { r.Claims["iss"] = "https://id.example.evil" }, 401, "identity_missing"},
		{"issuer in a list", func(r *call.Request) { r.Claims["iss"] = []any{issuer} }, 401, "identity_missing"},
		{"no subject", func(r *call.Request) { delete(r.Claims, "sub") }, 401, "identity_missing"},
		{"empty subject", func(r *call.Request) { r.Claims["sub"] = "" }, 401, "identity_missing"},
		{"number as subject", func(r *call.Request) { r.Claims["sub"] = 7.0 }, 401, "identity_missing"},
		{"long subject", func(r *call.Request) { r.Claims["sub"] = strings.Repeat("a", 257) }, 401, "identity_missing"},
		{"subject with NUL", func(r *call.Request) { r.Claims["sub"] = "anna\x00" }, 401, "identity_missing"},
		{"subject not UTF-8", func(r *call.Request) { r.Claims["sub"] = "anna\xff" }, 401, "identity_missing"},
		{"compressed", add("content-encoding", "gzip"), 415, "content_encoding_unsupported"},
		{"partial body", add("x-envoy-auth-partial-body", "true"), 413, "body_too_big"},
		{"partial body, odd value", add("x-envoy-auth-partial-body", "TRUE"), 413, "body_too_big"},
		{"shorter than it says", set("content-length", strconv.Itoa(len(goodBody)+1)), 400, "body_length_mismatch"},
		{"longer than it says", set("content-length", strconv.Itoa(len(goodBody)-1)), 400, "body_length_mismatch"},
		{"length with a sign", set("content-length", "+"+strconv.Itoa(len(goodBody))), 400, "body_length_mismatch"},
		{"empty length", set("content-length", ""), 400, "body_length_mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) { wantRefusal(t, with(c.change), c.status, c.code) })
	}
}

// 80 header lines pass, 81 do not, and 44 KiB of them, and not a byte more: with
// ours and those that the sidecar does not see the upstream's would be too many.
func TestHeaderCount(t *testing.T) {
	lines := func(n int) call.Request {
		return with(func(r *call.Request) {
			for i := len(r.Headers); i < n; i++ {
				r.Headers = append(r.Headers, call.Header{Name: "x-line", Value: []byte("v")})
			}
		})
	}
	if _, err := decode(builtIn(t), lines(80)); err != nil {
		t.Errorf("80 lines: %v", err)
	}
	wantRefusal(t, lines(81), 431, "too_many_headers")
	sized := func(n int) call.Request {
		return with(func(r *call.Request) {
			for _, h := range r.Headers {
				n -= len(h.Name) + len(h.Value)
			}
			r.Headers = append(r.Headers, call.Header{Name: "x", Value: bytes.Repeat([]byte("v"), n-1)})
		})
	}
	if _, err := decode(builtIn(t), sized(44<<10)); err != nil {
		t.Errorf("44 KiB: %v", err)
	}
	wantRefusal(t, sized(44<<10+1), 431, "headers_too_big")
}

// Headers by which a framework behind us would run another method or path.
func TestOverrideHeaders(t *testing.T) {
	for _, name := range []string{
		"x-http-method", "x-http-method-override", "x-method-override",
		"x-original-url", "x-rewrite-url", "x-original-uri", "x-original-path", "x-original-host", "x-original-method",
		"x-request-method", "x-override-url", "x-http-path-override", "x-http-destinationurl", "x-proxy-url",
		"request-uri", "x-host", "content-range",
	} {
		for _, value := range []string{"DELETE", "POST", ""} {
			t.Run(name+"="+value, func(t *testing.T) {
				wantRefusal(t, with(add(name, value)), 400, "override_header")
			})
		}
	}
}

// A header that a route reads and that is there twice, in either spelling: as two
// lines or joined by a comma. The first line may be empty.
func TestDuplicateHeaders(t *testing.T) {
	for name, value := range map[string]string{
		"content-type":              "application/json",
		"content-length":            strconv.Itoa(len(goodBody)),
		"content-encoding":          "identity",
		"x-envoy-auth-partial-body": "false",
	} {
		for _, lines := range [][]string{
			{value, value}, {value, ""}, {"", value}, {"", ""}, {value + "," + value}, {value + ", " + value}, {","},
		} {
			t.Run(name+"="+strings.Join(lines, "|"), func(t *testing.T) {
				req := with(remove(name))
				for _, line := range lines {
					add(name, line)(&req)
				}
				wantRefusal(t, req, 400, "header_duplicate")
			})
		}
	}
}

// Headers that change nothing of how a request is read.
func TestHeadersLetThrough(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*call.Request)
	}{
		{"no length", remove("content-length")},
		{"whole body", add("x-envoy-auth-partial-body", "false")},
		{"identity encoding", add("content-encoding", "identity")},
		{"repeated header that no route reads", func(r *call.Request) {
			add("accept", "a")(r)
			add("accept", "b")(r)
		}},
		{"value that is not UTF-8", add("x-note", "\xff\x00")},
		{"no headers but the two that it needs", func(r *call.Request) {
			r.Headers = nil
			add("content-type", "application/json")(r)
			add("idempotency-key", "k")(r)
		}},
		{"port in the authority", func(r *call.Request) { r.Authority = "pay.example:8443" }},
		{"members that no field reads", func(r *call.Request) {
			*r = post(goodPath, `{"note":{"a":[1.5e3,null]},`+goodBody[1:])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := decode(builtIn(t), with(c.change)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestContentTypes(t *testing.T) {
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8",
		`application/json; charset="utf-8"`, "Application/JSON",
	} {
		t.Run(contentType, func(t *testing.T) {
			if _, err := decode(builtIn(t), with(set("content-type", contentType))); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		wantRefusal(t, with(remove("content-type")), http.StatusUnsupportedMediaType, "media_type_unsupported")
	})
	for _, contentType := range []string{
		"", "application", "application/", "text/json", "text/plain", "application/jsonx", "application/json5",
		"application/problem+json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
		"application/json; charset=utf-16", "application/json; charset=utf-7", "application/json; charset=",
		"application/json; charset=utf-8; charset=utf-16", "application/json; charset=utf-8; v=1",
		"application/json; v=1", "application/json; charset*=utf-7''utf-7", "application/json; charset*=utf-8''utf-8",
		"application/json; charset*0=utf-; charset*1=8", "application/json charset=utf-8", "application/json; charset",
		"application/json;;", "text/plain; a=application/json", "application/json\x00", " application/json/",
	} {
		t.Run("refused "+contentType, func(t *testing.T) {
			wantRefusal(t, with(set("content-type", contentType)), http.StatusUnsupportedMediaType, "media_type_unsupported")
		})
	}
}

// What strictjson refuses is refused under its own code; a body that is too big
// is 413, every other 400.
func TestBodies(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"none", "", 400, "body_empty"},
		{"blank", " \n", 400, "body_empty"},
		{"too big", `{"note":"` + strings.Repeat("a", 1<<20) + `",` + goodBody[1:], 413, "body_too_big"},
		{"not UTF-8", strings.Replace(goodBody, "bakery", "\xff", 1), 400, "body_not_utf8"},
		{"byte order mark", "\ufeff" + goodBody, 400, "body_byte_order_mark"},
		{"cut off", goodBody[:len(goodBody)-1], 400, "body_syntax"},
		{"comment", goodBody[:len(goodBody)-1] + "/**/}", 400, "body_syntax"},
		{"form", "payee=mer_bakery&amount_minor=1250", 400, "body_syntax"},
		{"two documents", goodBody + goodBody, 400, "body_trailing_data"},
		{"deep", `{"note":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "," + goodBody[1:], 400, "body_too_deep"},
		{"amount with a huge exponent", strings.Replace(goodBody, "1250", "1e9999999", 1), 400, "body_number_out_of_range"},
		{"huge exponent elsewhere", `{"note":1e9999999,` + goodBody[1:], 400, "body_number_out_of_range"},
		{"long number", `{"note":` + strings.Repeat("1", 41) + "," + goodBody[1:], 400, "body_number_out_of_range"},
		{"lone surrogate", strings.Replace(goodBody, "bakery", `\ud800`, 1), 400, "body_lone_surrogate"},
		{"NUL", strings.Replace(goodBody, "bakery", `\u0000`, 1), 400, "body_forbidden_character"},
		{"field twice", `{"amount_minor":1,` + goodBody[1:], 400, "body_duplicate_member"},
		{"field twice, escaped", `{"\u0061mount_minor":1,` + goodBody[1:], 400, "body_duplicate_member"},
		{"field in other case beside it", `{"Amount_Minor":1,` + goodBody[1:], 400, "body_duplicate_member"},
		{"field in camel case beside it", `{"amountMinor":1,` + goodBody[1:], 400, "body_duplicate_member"},
		{"prototype", `{"__proto__":{},` + goodBody[1:], 400, "body_forbidden_member"},
		{"long name", `{"` + strings.Repeat("n", 300) + `":1,` + goodBody[1:], 400, "body_name_too_long"},
		{"many members", `{"note":[` + strings.Repeat("0,", 20000) + "0]," + goodBody[1:], 400, "body_too_many_values"},
	} {
		t.Run(c.name, func(t *testing.T) { wantRefusal(t, post(goodPath, c.body), c.status, c.code) })
	}
}

// A refusal's message repeats nothing of the request: it goes to logs.
func TestRefusalsDoNotQuote(t *testing.T) {
	const canary = "canary4711"
	for _, body := range []string{
		`{"` + canary + `":1,"` + canary + `":1}`, `{"payee":` + canary + `}`, `["` + canary + `"`,
		`{"payee":"` + canary + `\u0001","amount_minor":1250,"currency":"EUR"}`,
		strings.Replace(goodBody, "EUR", canary, 1), strings.Replace(goodBody, "1250", `"`+canary+`"`, 1),
	} {
		if r := refusal(t, builtIn(t), post(goodPath, body)); strings.Contains(r.Error(), canary) {
			t.Errorf("%s is refused with %q", body, r.Error())
		}
	}
	for _, req := range []call.Request{
		with(func(r *call.Request) { r.Path = "/" + canary }), with(func(r *call.Request) { r.Path += "?" + canary }),
		with(add("x-rewrite-url", canary)), with(set("content-type", canary)), with(func(r *call.Request) { r.Claims["iss"] = canary }),
	} {
		if r := refusal(t, builtIn(t), req); strings.Contains(r.Error(), canary) {
			t.Errorf("refused with %q", r.Error())
		}
	}
}
