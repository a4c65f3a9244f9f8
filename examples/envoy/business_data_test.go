package envoy

import (
	"net/http"
	"testing"
)

// What an operator may tune of proxied business.
func TestBusinessOfRegisteredAgents(t *testing.T) {
	const data = "systems/proxied_business/data.yaml"
	rules := onlySystems(t, "proxied_business", "terminal")
	replace(t, rules, data, "agents: {mode: any}\n", "agents: {mode: only, identities: [{issuer: \"https://id.example\", subject: desk0}]}\n")
	replace(t, rules, data, "echo_required: true\n", "echo_required: false\n")
	f, b := newBusinessesBy(t, rules, make([]businessCase, 1)), businessOf(0)
	anew(t, f, b)
	for name, step := range map[string]func(*testing.T, *family, *business) response{
		"execute": shopExecutes, "scan": shopScans,
		"view": func(t *testing.T, f *family, b *business) response {
			return f.call(t, b.shop, http.MethodGet, "/countersign/v1/business/"+b.id, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f.hears(t, step(t, f, b), http.StatusForbidden, []string{"agent_not_registered"}, nil)
		})
	}
	f.hears(t, executing(map[string]any{"amount_minor": 4999})(t, f, b), http.StatusForbidden, []string{"amount_changed"}, nil)
	if resp := executing(map[string]any{"amount_minor": nil})(t, f, b); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %s", resp.StatusCode, resp.body)
	}
	if minor, payments := f.spent(t, "acc_"+b.desk); minor != 5000 || payments != 1 {
		t.Errorf("the desk has spent %d in %d payments", minor, payments)
	}
}
