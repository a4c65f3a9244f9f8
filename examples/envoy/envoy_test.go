package envoy

import "testing"

func TestAllowReachesUpstreamOnce(t *testing.T) {
	script(allow)
	resp := post(t, edge, "/v1/payments", `{"amount_minor":100}`)
	expect(t, resp, 200, 1, 1)
	if resp.body != "paid" {
		t.Errorf("client got %q, want the upstream's answer", resp.body)
	}
	if got := paid(); len(got) == 1 && got[0].body != `{"amount_minor":100}` {
		t.Errorf("upstream got body %q", got[0].body)
	}
}

func TestDenyReachesNothing(t *testing.T) {
	script(deny)
	resp := post(t, edge, "/v1/payments", `{"amount_minor":100}`)
	expect(t, resp, 403, 1, 0)
	if resp.body != `{"code":"no_permit"}` {
		t.Errorf("client got %q, want the sidecar's answer", resp.body)
	}
}
